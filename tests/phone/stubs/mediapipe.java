// What the app uses of MediaPipe's tasks-vision 0.10.35. A class begins at its package.
package com.google.mediapipe.framework;
public class MediaPipeException extends RuntimeException {}
package com.google.mediapipe.framework.image;
public class MPImage {}
package com.google.mediapipe.framework.image;
public class BitmapImageBuilder {
    public BitmapImageBuilder(android.graphics.Bitmap bitmap) {}
    public MPImage build() { return null; }
}
package com.google.mediapipe.tasks.components.containers;
public abstract class Category {
    public abstract float score();
    public abstract int index();
    public abstract String categoryName();
    public abstract String displayName();
}
package com.google.mediapipe.tasks.components.containers;
public abstract class ClassificationResult { public abstract java.util.List<Classifications> classifications(); }
package com.google.mediapipe.tasks.components.containers;
public abstract class Classifications { public abstract java.util.List<Category> categories(); }
package com.google.mediapipe.tasks.core;
public enum Delegate { CPU, GPU }
package com.google.mediapipe.tasks.core;
public abstract class BaseOptions {
    public abstract static class Builder {
        public abstract Builder setModelAssetPath(String value);
        public abstract Builder setDelegate(Delegate delegate);
        public final BaseOptions build() { return null; }
    }
    public static Builder builder() { return null; }
}
package com.google.mediapipe.tasks.core;
public interface TaskResult {}
package com.google.mediapipe.tasks.vision.core;
public enum RunningMode { IMAGE, VIDEO, LIVE_STREAM }
package com.google.mediapipe.tasks.vision.core;
public class BaseVisionTaskApi implements AutoCloseable { public void close() {} }
package com.google.mediapipe.tasks.vision.imageclassifier;
public abstract class ImageClassifierResult implements com.google.mediapipe.tasks.core.TaskResult {
    public abstract com.google.mediapipe.tasks.components.containers.ClassificationResult classificationResult();
}
package com.google.mediapipe.tasks.vision.imageclassifier;
public final class ImageClassifier extends com.google.mediapipe.tasks.vision.core.BaseVisionTaskApi {
    public static ImageClassifier createFromOptions(android.content.Context context, ImageClassifierOptions options) {
        return null;
    }
    public ImageClassifierResult classify(com.google.mediapipe.framework.image.MPImage image) { return null; }
    public abstract static class ImageClassifierOptions {
        public abstract static class Builder {
            public abstract Builder setBaseOptions(com.google.mediapipe.tasks.core.BaseOptions baseOptions);
            public abstract Builder setRunningMode(com.google.mediapipe.tasks.vision.core.RunningMode runningMode);
            public abstract Builder setMaxResults(Integer maxResults);
            public final ImageClassifierOptions build() { return null; }
        }
        public static Builder builder() { return null; }
    }
}
