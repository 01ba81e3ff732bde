// Where images go in a network's input: one case a line, as numbers and a mode.
package org.example.classifier

fun main() {
    for (line in generateSequence(::readlnOrNull)) {
        val (width, height, columns, rows, mode, part, of) = line.split(" ")
        val geometry = Geometry(columns.toInt(), rows.toInt(), mode, part.toLong(), of.toLong())
        val boxes = listOf(geometry.window(width.toInt(), height.toInt()), geometry.place(width.toInt(), height.toInt()))
        println(boxes.joinToString(" ") { "${it.top} ${it.left} ${it.height} ${it.width}" })
    }
}

private operator fun List<String>.component6() = this[5]

private operator fun List<String>.component7() = this[6]
