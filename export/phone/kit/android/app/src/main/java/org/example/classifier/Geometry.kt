package org.example.classifier

/** A part of an image, in pixels. */
data class Box(val left: Int, val top: Int, val width: Int, val height: Int)

/**
 * How an image comes to the size of the network's input, [columns] x [rows]: as in training.
 *
 * "crop" takes the middle, [part] / [of] of the largest window of the input's proportions; "stretch" and "letterbox"
 * take the whole image.
 */
class Geometry(
    val columns: Int,
    val rows: Int,
    private val mode: String,
    private val part: Long,
    private val of: Long,
) {
    /** The window of an image that is used. */
    fun window(width: Int, height: Int): Box {
        if (mode != "crop") return Box(0, 0, width, height)
        val fit = part * minOf(height.toLong() * columns, width.toLong() * rows)
        return central(width, height, nearest(fit, of * rows), nearest(fit, of * columns))
    }

    /** Where that window goes in the input. */
    fun place(width: Int, height: Int): Box {
        if (mode != "letterbox") return Box(0, 0, columns, rows)
        val fit = minOf(rows.toLong() * width, columns.toLong() * height)
        return central(columns, rows, nearest(fit, height.toLong()), nearest(fit, width.toLong()))
    }

    private fun nearest(dividend: Long, divisor: Long) = maxOf(1, ((2 * dividend + divisor) / (2 * divisor)).toInt())

    private fun central(width: Int, height: Int, columns: Int, rows: Int) =
        Box((width - columns) / 2, (height - rows) / 2, columns, rows)
}
