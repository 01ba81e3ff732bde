"""The first run of a file in a process of its own."""

import pytest

from keras_inception.export.runtimes import trial


@pytest.mark.parametrize(("ends", "raises"), [("os.kill(os.getpid(), 11)", True), ("raise SystemExit(1)", False)])
def test_a_model_that_ends_the_process_of_openvino(ends, raises, tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text(f"import os\n{ends}\n")
    monkeypatch.setattr(trial.worker, "__file__", str(script))
    if raises:
        with pytest.raises(RuntimeError, match="it ends the process by signal 11"):
            trial.try_out_in_openvino(tmp_path / "model.xml")
    else:
        trial.try_out_in_openvino(tmp_path / "model.xml")
