// What the app uses of Android, API level 36. A class begins at its package.
package android;
public final class Manifest {
    public static final class permission { public static final String CAMERA = "android.permission.CAMERA"; }
}
package android.app;
public class Activity extends android.content.Context {
    protected void onCreate(android.os.Bundle savedInstanceState) {}
    protected void onDestroy() {}
    public final void runOnUiThread(Runnable action) {}
    public void setContentView(android.view.View view) {}
}
package android.content;
public abstract class Context {
    public android.content.res.AssetManager getAssets() { return null; }
    public ContentResolver getContentResolver() { return null; }
    public Context getApplicationContext() { return null; }
    public java.util.concurrent.Executor getMainExecutor() { return null; }
    public int checkSelfPermission(String permission) { return 0; }
}
package android.content;
public abstract class ContentResolver {}
package android.content.pm;
public abstract class PackageManager { public static final int PERMISSION_GRANTED = 0; }
package android.content.res;
public final class AssetManager {
    public java.io.InputStream open(String fileName) throws java.io.IOException { return null; }
}
package android.graphics;
public final class Bitmap {
    public enum Config { ARGB_8888 }
    public static Bitmap createBitmap(int width, int height, Config config) { return null; }
    public static Bitmap createBitmap(Bitmap source, int x, int y, int width, int height) { return null; }
    public static Bitmap createBitmap(
        Bitmap source, int x, int y, int width, int height, Matrix m, boolean filter) { return null; }
    public static Bitmap createScaledBitmap(Bitmap src, int dstWidth, int dstHeight, boolean filter) { return null; }
    public int getWidth() { return 0; }
    public int getHeight() { return 0; }
}
package android.graphics;
public class Canvas {
    public Canvas(Bitmap bitmap) {}
    public void drawColor(int color) {}
    public void drawBitmap(Bitmap bitmap, float left, float top, Paint paint) {}
    public void drawBitmap(Bitmap bitmap, Rect src, Rect dst, Paint paint) {}
    public void drawBitmap(Bitmap bitmap, Rect src, RectF dst, Paint paint) {}
}
package android.graphics;
public class Color {
    public static final int WHITE = -1;
    public static int rgb(int red, int green, int blue) { return 0; }
    public static int rgb(float red, float green, float blue) { return 0; }
}
package android.graphics;
public abstract class ColorSpace {
    public enum Named { SRGB }
    public static ColorSpace get(Named name) { return null; }
}
package android.graphics;
public final class ImageDecoder {
    public static final int ALLOCATOR_SOFTWARE = 1;
    public static class Source {}
    public static class ImageInfo { public android.util.Size getSize() { return null; } }
    public interface OnHeaderDecodedListener {
        void onHeaderDecoded(ImageDecoder decoder, ImageInfo info, Source source);
    }
    public static Source createSource(android.content.ContentResolver cr, android.net.Uri uri) { return null; }
    public static Bitmap decodeBitmap(Source src, OnHeaderDecodedListener listener) throws java.io.IOException { return null; }
    public int getAllocator() { return 0; }
    public void setAllocator(int allocator) {}
    public void setTargetColorSpace(ColorSpace colorSpace) {}
    public void setTargetSampleSize(int sampleSize) {}
}
package android.graphics;
public class Matrix { public boolean postRotate(float degrees) { return true; } }
package android.graphics;
public class Paint {
    public static final int FILTER_BITMAP_FLAG = 2;
    public Paint(int flags) {}
}
package android.graphics;
public final class Rect { public Rect(int left, int top, int right, int bottom) {} }
package android.graphics;
public class RectF {}
package android.net;
public abstract class Uri {}
package android.os;
public final class Bundle {}
package android.os;
public final class SystemClock { public static long elapsedRealtime() { return 0; } }
package android.util;
public final class Size {
    public int getWidth() { return 0; }
    public int getHeight() { return 0; }
}
package android.view;
public class View {
    public static final int GONE = 8;
    public static final int VISIBLE = 0;
    public interface OnClickListener { void onClick(View v); }
    public int getVisibility() { return 0; }
    public void setVisibility(int visibility) {}
    public boolean getFitsSystemWindows() { return false; }
    public void setFitsSystemWindows(boolean fitSystemWindows) {}
    public void setPadding(int left, int top, int right, int bottom) {}
    public void setOnClickListener(OnClickListener l) {}
}
package android.view;
public abstract class ViewGroup extends View {
    public static class LayoutParams { public static final int MATCH_PARENT = -1; }
    public static class MarginLayoutParams extends LayoutParams {}
    public void addView(View child) {}
    public void addView(View child, LayoutParams params) {}
}
package android.widget;
public class Button extends TextView { public Button(android.content.Context context) { super(context); } }
package android.widget;
public class FrameLayout extends android.view.ViewGroup { public FrameLayout(android.content.Context context) {} }
package android.widget;
public class ImageView extends android.view.View {
    public ImageView(android.content.Context context) {}
    public void setImageBitmap(android.graphics.Bitmap bm) {}
}
package android.widget;
public class LinearLayout extends android.view.ViewGroup {
    public static final int VERTICAL = 1;
    public static class LayoutParams extends android.view.ViewGroup.MarginLayoutParams {
        public LayoutParams(int width, int height, float weight) {}
    }
    public LinearLayout(android.content.Context context) {}
    public int getOrientation() { return 0; }
    public void setOrientation(int orientation) {}
}
package android.widget;
public class TextView extends android.view.View {
    public TextView(android.content.Context context) {}
    public CharSequence getText() { return null; }
    public final void setText(CharSequence text) {}
    public float getTextSize() { return 0; }
    public void setTextSize(float size) {}
    public int getMinLines() { return 0; }
    public void setMinLines(int minLines) {}
}
package org.json;
public class JSONArray {
    public double getDouble(int index) throws JSONException { return 0; }
    public int getInt(int index) throws JSONException { return 0; }
    public long getLong(int index) throws JSONException { return 0; }
}
package org.json;
public class JSONException extends Exception {}
package org.json;
public class JSONObject {
    public JSONObject(String json) throws JSONException {}
    public JSONArray getJSONArray(String name) throws JSONException { return null; }
    public JSONObject getJSONObject(String name) throws JSONException { return null; }
    public String getString(String name) throws JSONException { return null; }
}
