package org.example.classifier

import android.Manifest
import android.content.pm.PackageManager
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.ColorSpace
import android.graphics.ImageDecoder
import android.graphics.Matrix
import android.net.Uri
import android.os.Bundle
import android.view.View
import android.widget.Button
import android.widget.FrameLayout
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.core.Preview
import androidx.camera.core.resolutionselector.AspectRatioStrategy
import androidx.camera.core.resolutionselector.ResolutionSelector
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import java.io.IOException
import java.util.concurrent.Executors

/** Shows what the camera sees, or a picture from the gallery, and the classes that the network finds in it. */
class MainActivity : ComponentActivity() {
    private val worker = Executors.newSingleThreadExecutor() // MediaPipe's GPU wants one and the same thread
    private var classifier: Classifier? = null // on `worker` only
    private lateinit var camera: PreviewView
    private lateinit var picture: ImageView
    private lateinit var answers: TextView

    private val permission = registerForActivityResult(ActivityResultContracts.RequestPermission()) { granted ->
        if (granted) startCamera() else say("The camera is not allowed. Choose a picture.")
    }
    private val images = PickVisualMediaRequest.Builder()
        .setMediaType(ActivityResultContracts.PickVisualMedia.ImageOnly)
        .build()
    private val gallery = registerForActivityResult(ActivityResultContracts.PickVisualMedia()) { chosen ->
        if (chosen != null) classify(chosen)
    }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        camera = PreviewView(this).apply { scaleType = PreviewView.ScaleType.FIT_CENTER } // all that is classified
        picture = ImageView(this)
        answers = TextView(this).apply {
            textSize = 18f
            minLines = 7
            setPadding(32, 32, 32, 32)
        }
        val shown = FrameLayout(this).apply {
            addView(camera)
            addView(picture)
        }
        val buttons = LinearLayout(this).apply {
            addView(button("Camera") { askForCamera() })
            addView(button("Picture") { gallery.launch(images) })
        }
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                fitsSystemWindows = true // nothing lies under the bars of the system
                addView(shown, LinearLayout.LayoutParams(LinearLayout.LayoutParams.MATCH_PARENT, 0, 1f))
                addView(answers)
                addView(buttons)
            },
        )
        askForCamera()
    }

    override fun onDestroy() {
        worker.execute { classifier?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private fun askForCamera() {
        if (checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED) startCamera()
        else permission.launch(Manifest.permission.CAMERA)
    }

    private fun startCamera() {
        picture.visibility = View.GONE
        val provider = ProcessCameraProvider.getInstance(this)
        provider.addListener({
            // The same proportions for both: what is seen is what is classified.
            val size = ResolutionSelector.Builder()
                .setAspectRatioStrategy(AspectRatioStrategy.RATIO_4_3_FALLBACK_AUTO_STRATEGY)
                .build()
            val preview = Preview.Builder().setResolutionSelector(size).build()
            preview.setSurfaceProvider(camera.surfaceProvider)
            val frames = ImageAnalysis.Builder()
                .setResolutionSelector(size)
                .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
                .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
                .build()
            frames.setAnalyzer(worker) { frame -> frame.use { show(upright(it)) } }
            try {
                provider.get().unbindAll()
                provider.get().bindToLifecycle(this, CameraSelector.DEFAULT_BACK_CAMERA, preview, frames)
            } catch (_: IllegalArgumentException) {
                say("There is no camera at the back. Choose a picture.")
            }
        }, mainExecutor)
    }

    private fun classify(chosen: Uri) {
        val provider = ProcessCameraProvider.getInstance(this)
        provider.addListener({
            provider.get().unbindAll() // so the last answer is the picture's
            worker.execute {
                try {
                    val image = read(chosen)
                    runOnUiThread {
                        picture.setImageBitmap(image)
                        picture.visibility = View.VISIBLE
                    }
                    show(image)
                } catch (error: IOException) {
                    say("This picture cannot be read: ${error.message}")
                }
            }
        }, mainExecutor)
    }

    /** Upright, on white and in sRGB, as training sees images. */
    private fun read(file: Uri): Bitmap {
        val image = ImageDecoder.decodeBitmap(ImageDecoder.createSource(contentResolver, file)) { decoder, info, _ ->
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE // pixels in memory, not on the GPU
            decoder.setTargetColorSpace(ColorSpace.get(ColorSpace.Named.SRGB))
            decoder.setTargetSampleSize(maxOf(1, minOf(info.size.width, info.size.height) / 1024))
        }
        val result = Bitmap.createBitmap(image.width, image.height, Bitmap.Config.ARGB_8888)
        Canvas(result).apply {
            drawColor(Color.WHITE)
            drawBitmap(image, 0f, 0f, null)
        }
        return result
    }

    private fun upright(frame: ImageProxy): Bitmap {
        val image = frame.toBitmap()
        val turn = Matrix().apply { postRotate(frame.imageInfo.rotationDegrees.toFloat()) }
        return Bitmap.createBitmap(image, 0, 0, image.width, image.height, turn, true)
    }

    /** On `worker`. */
    private fun show(image: Bitmap) {
        try {
            val network = classifier ?: Classifier(applicationContext).also { classifier = it }
            val answer = network.classify(image)
            val lines = answer.classes.map { (name, share) -> "%5.1f %%  %s".format(100 * share, name) }
            say((lines + "${answer.milliseconds} ms on the ${network.processor}").joinToString("\n"))
        } catch (error: RuntimeException) { // MediaPipe's
            say("The network cannot be run: ${error.message}")
        }
    }

    private fun say(text: String) = runOnUiThread { answers.text = text }

    private fun button(name: String, action: () -> Unit) = Button(this).apply {
        text = name
        setOnClickListener { action() }
    }
}
