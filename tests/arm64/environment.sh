#!/bin/sh
# Make FOLDER/python: Python 3.11 and LiteRT for arm64, under QEMU's user-mode emulation. Nothing is installed and no
# root is needed: apt fetches Debian's packages for arm64 into a state of its own, and pip the wheels.
# Needs qemu-user-static, of QEMU 7 or later. The processor is chosen by ARM64_CPU. The second argument is a Python whose
# LiteRT and NumPy give the versions.
set -eu
version() {
    "$1" -c "from importlib.metadata import version; print(version('$2'))"
}
mkdir -p "$1"
folder=$(cd "$1" && pwd)
root=$folder/root
state=$folder/apt
mkdir -p "$state/lists/partial" "$state/archives/partial" "$folder/packages" "$folder/wheels" "$root/site"
: > "$state/status"

apt_arm64() {
    apt-get --quiet --quiet \
        -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::State::lists="$state/lists" \
        -o Dir::Cache::archives="$state/archives" -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
        -o APT::Sandbox::User="$(id -un)" "$@"
}

apt_arm64 update
cd "$folder/packages"
apt_arm64 download libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libssl3 libffi8 libbz2-1.0 liblzma5 libuuid1 libcrypt1 \
    libpython3.11-minimal libpython3.11-stdlib python3.11-minimal python3.11
for package in ./*.deb; do
    dpkg --extract "$package" "$root"
done

"$2" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$folder/wheels" \
    --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 --platform manylinux_2_28_aarch64 \
    --python-version 311 --implementation cp --abi cp311 --abi abi3 --abi none \
    "ai-edge-litert==$(version "$2" ai-edge-litert)" "numpy==$(version "$2" numpy)" flatbuffers protobuf backports.strenum tqdm typing_extensions ml_dtypes
for wheel in "$folder"/wheels/*.whl; do
    "$2" -m zipfile --extract "$wheel" "$root/site"
done

# XNNPACK reads which instructions the processor has from these files. QEMU looks for them under the root first;
# without them it would be told about the host's processor, and end by a signal. Each processor has a root of its own,
# of hard links, so that runs on different ones do not disturb each other.
mkdir -p "$root/proc" "$root/sys/devices/system/cpu"
echo 0-1 > "$root/sys/devices/system/cpu/possible"
echo 0-1 > "$root/sys/devices/system/cpu/present"

# processor NAME PART FEATURES...
processor() {
    name=$1 part=$2
    shift 2
    rm -rf "${folder:?}/$name"
    cp -al "$root" "$folder/$name"
    for i in 0 1; do
        printf 'processor\t: %d\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 %s\nCPU implementer\t: 0x41\n' $i "$*"
        printf 'CPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: %s\nCPU revision\t: 1\n\n' "$part"
    done > "$folder/$name/proc/cpuinfo"
}
processor cortex-a76 0xd0b fphp asimdhp asimdrdm lrcpc dcpop asimddp # with dot products of int8
processor cortex-a53 0xd03

cat > "$folder/python" <<EOF
#!/bin/sh
root="$folder/\${ARM64_CPU:=cortex-a76}"
[ -d "\$root/proc" ] || { echo "ARM64_CPU is cortex-a76 or cortex-a53; got \$ARM64_CPU" >&2; exit 2; }
exec qemu-aarch64-static -cpu "\$ARM64_CPU" -L "\$root" -E PYTHONHOME="\$root/usr" -E PYTHONPATH="\$root/site" \\
    -E OPENBLAS_NUM_THREADS=1 "\$root/usr/bin/python3.11" "\$@"
EOF
chmod +x "$folder/python"
rm -rf "$state"
