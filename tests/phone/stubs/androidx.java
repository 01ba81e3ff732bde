// What the app uses of androidx.activity 1.13.0 (with activity.kt and contracts.kt) and of CameraX 1.6.2. A class begins at its package.
package androidx.activity;
public abstract class ComponentActivity extends android.app.Activity
        implements androidx.activity.result.ActivityResultCaller, androidx.lifecycle.LifecycleOwner {}
package androidx.lifecycle;
public interface LifecycleOwner {}
package com.google.common.util.concurrent;
public interface ListenableFuture<V> extends java.util.concurrent.Future<V> {
    void addListener(Runnable listener, java.util.concurrent.Executor executor);
}
package androidx.camera.core;
public interface Camera {}
package androidx.camera.core;
public final class CameraSelector { public static final CameraSelector DEFAULT_BACK_CAMERA = null; }
package androidx.camera.core;
public abstract class UseCase {}
package androidx.camera.core;
public interface ImageInfo { int getRotationDegrees(); }
package androidx.camera.core;
public interface ImageProxy extends AutoCloseable {
    void close();
    ImageInfo getImageInfo();
    default android.graphics.Bitmap toBitmap() { return null; }
}
package androidx.camera.core;
public final class ImageAnalysis extends UseCase {
    public static final int STRATEGY_KEEP_ONLY_LATEST = 0;
    public static final int OUTPUT_IMAGE_FORMAT_RGBA_8888 = 2;
    public interface Analyzer { void analyze(ImageProxy image); }
    public void setAnalyzer(java.util.concurrent.Executor executor, Analyzer analyzer) {}
    public static final class Builder {
        public Builder() {}
        public Builder setBackpressureStrategy(int strategy) { return null; }
        public Builder setOutputImageFormat(int outputImageFormat) { return null; }
        public Builder setResolutionSelector(
            androidx.camera.core.resolutionselector.ResolutionSelector resolutionSelector) { return null; }
        public ImageAnalysis build() { return null; }
    }
}
package androidx.camera.core;
public final class Preview extends UseCase {
    public interface SurfaceProvider {}
    public void setSurfaceProvider(SurfaceProvider surfaceProvider) {}
    public static final class Builder {
        public Builder() {}
        public Builder setResolutionSelector(
            androidx.camera.core.resolutionselector.ResolutionSelector resolutionSelector) { return null; }
        public Preview build() { return null; }
    }
}
package androidx.camera.core.resolutionselector;
public final class AspectRatioStrategy {
    public static final AspectRatioStrategy RATIO_4_3_FALLBACK_AUTO_STRATEGY = null;
}
package androidx.camera.core.resolutionselector;
public final class ResolutionSelector {
    public static final class Builder {
        public Builder() {}
        public Builder setAspectRatioStrategy(AspectRatioStrategy aspectRatioStrategy) { return null; }
        public ResolutionSelector build() { return null; }
    }
}
package androidx.camera.lifecycle;
public final class ProcessCameraProvider {
    public static com.google.common.util.concurrent.ListenableFuture<ProcessCameraProvider> getInstance(
        android.content.Context context) { return null; }
    public androidx.camera.core.Camera bindToLifecycle(androidx.lifecycle.LifecycleOwner lifecycleOwner,
        androidx.camera.core.CameraSelector cameraSelector, androidx.camera.core.UseCase... useCases) { return null; }
    public void unbindAll() {}
}
package androidx.camera.view;
public final class PreviewView extends android.widget.FrameLayout {
    public enum ScaleType { FIT_CENTER }
    public PreviewView(android.content.Context context) { super(context); }
    public androidx.camera.core.Preview.SurfaceProvider getSurfaceProvider() { return null; }
    public ScaleType getScaleType() { return null; }
    public void setScaleType(ScaleType scaleType) {}
}
