// What the app uses of androidx.activity 1.13.0, which is Kotlin.
package androidx.activity.result

import androidx.activity.result.contract.ActivityResultContract
import androidx.activity.result.contract.ActivityResultContracts

fun interface ActivityResultCallback<O> {
    fun onActivityResult(result: O)
}

interface ActivityResultCaller {
    fun <I, O> registerForActivityResult(
        contract: ActivityResultContract<I, O>,
        callback: ActivityResultCallback<O>,
    ): ActivityResultLauncher<I> = throw NotImplementedError()
}

abstract class ActivityResultLauncher<I> {
    open fun launch(input: I) {}
}

class PickVisualMediaRequest internal constructor() {
    class Builder {
        fun setMediaType(mediaType: ActivityResultContracts.PickVisualMedia.VisualMediaType): Builder = this

        fun build(): PickVisualMediaRequest = PickVisualMediaRequest()
    }
}
