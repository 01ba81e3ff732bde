package org.example.classifier

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.Rect
import android.os.SystemClock
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.core.Delegate
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier
import org.json.JSONObject

/** The most probable classes, the first first, and how many milliseconds the network took. */
data class Answer(val classes: List<Pair<String, Float>>, val milliseconds: Long)

/** The network in assets/, on the GPU if the phone's can compute it. Make it, use it and close it on one thread. */
class Classifier(context: Context) : AutoCloseable {
    private val about = JSONObject(context.assets.open("model.json").bufferedReader().use { it.readText() })
    private val input = about.getJSONObject("input")
    private val geometry = input.getJSONArray("size").let { size ->
        val crop = input.getJSONArray("crop")
        Geometry(size.getInt(1), size.getInt(0), input.getString("mode"), crop.getLong(0), crop.getLong(1))
    }
    private val fill = input.getJSONArray("fill").let { fill ->
        val (red, green, blue) = List(3) { Math.round(fill.getDouble(it)).toInt() }
        Color.rgb(red, green, blue)
    }
    private val smooth = Paint(Paint.FILTER_BITMAP_FLAG)

    /** "GPU" or "CPU". */
    var processor = "GPU"
        private set
    private val network: ImageClassifier = try {
        open(context, "float16.tflite", Delegate.GPU).also { tried(it) }
    } catch (_: RuntimeException) { // this GPU, or its driver, cannot
        processor = "CPU"
        open(context, "int8.tflite", Delegate.CPU)
    }

    fun classify(image: Bitmap): Answer {
        val pixels = BitmapImageBuilder(prepared(image)).build()
        val start = SystemClock.elapsedRealtime()
        val result = network.classify(pixels)
        val milliseconds = SystemClock.elapsedRealtime() - start
        val categories = result.classificationResult().classifications().first().categories()
        return Answer(categories.map { it.categoryName() to it.score() }, milliseconds)
    }

    override fun close() = network.close()

    private fun open(context: Context, file: String, delegate: Delegate) = ImageClassifier.createFromOptions(
        context,
        ImageClassifier.ImageClassifierOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath(file).setDelegate(delegate).build())
            .setRunningMode(RunningMode.IMAGE)
            .setMaxResults(5)
            .build(),
    )

    /** Some drivers fail only at the first image. */
    private fun tried(network: ImageClassifier) {
        val blank = Bitmap.createBitmap(geometry.columns, geometry.rows, Bitmap.Config.ARGB_8888)
        try {
            network.classify(BitmapImageBuilder(blank).build())
        } catch (error: RuntimeException) {
            network.close()
            throw error
        }
    }

    /** The image in the size of the network's input, so that MediaPipe, which stretches, leaves it as it is. */
    private fun prepared(image: Bitmap): Bitmap {
        val window = geometry.window(image.width, image.height)
        val place = geometry.place(image.width, image.height)
        var source = Bitmap.createBitmap(image, window.left, window.top, window.width, window.height)
        // Training averages over all the pixels that become one. A canvas looks at four: halve until these are all.
        while (source.width >= 2 * place.width || source.height >= 2 * place.height) {
            val width = if (source.width >= 2 * place.width) source.width / 2 else source.width
            val height = if (source.height >= 2 * place.height) source.height / 2 else source.height
            source = Bitmap.createScaledBitmap(source, width, height, true)
        }
        val result = Bitmap.createBitmap(geometry.columns, geometry.rows, Bitmap.Config.ARGB_8888)
        Canvas(result).apply {
            drawColor(fill)
            val rectangle = Rect(place.left, place.top, place.left + place.width, place.top + place.height)
            drawBitmap(source, null, rectangle, smooth)
        }
        return result
    }
}
