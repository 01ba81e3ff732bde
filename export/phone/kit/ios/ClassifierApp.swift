// A SwiftUI app for iOS 16 and later: takes or picks a picture, and shows the classes that the network finds in it.

import MediaPipeTasksVision
import PhotosUI
import SwiftUI
import UIKit

// MARK: - The network

/// What model.json tells: how an image comes to the network's input.
struct About: Decodable {
    struct Input: Decodable {
        let size: [Int] // rows, columns
        let mode: String
        let crop: [Int] // a share of the largest window: numerator, denominator
        let fill: [Double] // red, green and blue, 0 to 255
    }

    let title: String
    let input: Input
}

/// The most probable classes, the first first, and how long the network took.
struct Answer {
    let classes: [(name: String, share: Float)]
    let milliseconds: Double
    let processor: String
}

/// The network in the bundle, on the GPU if it can compute it.
final class Classifier {
    let about: About
    private let network: ImageClassifier
    private let processor: String

    init() throws {
        let file = try Self.file("model", "json")
        about = try JSONDecoder().decode(About.self, from: Data(contentsOf: URL(fileURLWithPath: file)))
        do {
            network = try Self.open(Self.file("float16", "tflite"), .GPU)
            processor = "GPU"
        } catch {
            network = try Self.open(Self.file("int8", "tflite"), .CPU)
            processor = "CPU"
        }
    }

    func classify(_ image: UIImage) throws -> Answer {
        let pixels = try MPImage(uiImage: prepared(image))
        let start = CFAbsoluteTimeGetCurrent()
        let result = try network.classify(image: pixels)
        let milliseconds = 1000 * (CFAbsoluteTimeGetCurrent() - start)
        let categories = result.classificationResult.classifications[0].categories
        return Answer(
            classes: categories.map { (name: $0.categoryName ?? "", share: $0.score) },
            milliseconds: milliseconds,
            processor: processor
        )
    }

    private static func open(_ file: String, _ delegate: Delegate) throws -> ImageClassifier {
        let options = ImageClassifierOptions()
        options.baseOptions.modelAssetPath = file
        options.baseOptions.delegate = delegate
        options.runningMode = .image
        options.maxResults = 5
        return try ImageClassifier(options: options)
    }

    private static func file(_ name: String, _ ending: String) throws -> String {
        guard let path = Bundle.main.path(forResource: name, ofType: ending) else {
            throw CocoaError(.fileNoSuchFile, userInfo: [NSFilePathErrorKey: "\(name).\(ending)"])
        }
        return path
    }

    /// The image in the size of the network's input, upright and on white: MediaPipe, which stretches, leaves it as it is.
    private func prepared(_ image: UIImage) -> UIImage {
        let input = about.input
        let rows = CGFloat(input.size[0]), columns = CGFloat(input.size[1])
        let across = columns / image.size.width, down = rows / image.size.height
        var scale = CGSize(width: across, height: down) // "stretch"
        if input.mode == "crop" {
            let larger = max(across, down) * CGFloat(input.crop[1]) / CGFloat(input.crop[0])
            scale = CGSize(width: larger, height: larger)
        } else if input.mode == "letterbox" {
            scale = CGSize(width: min(across, down), height: min(across, down))
        }
        let width = image.size.width * scale.width, height = image.size.height * scale.height
        let place = CGRect(x: (columns - width) / 2, y: (rows - height) / 2, width: width, height: height)
        let format = UIGraphicsImageRendererFormat()
        format.scale = 1
        format.preferredRange = .standard // sRGB
        let whole = CGRect(x: 0, y: 0, width: columns, height: rows)
        return UIGraphicsImageRenderer(bounds: whole, format: format).image { context in
            let level = input.fill.map { CGFloat($0 / 255) }
            UIColor(red: level[0], green: level[1], blue: level[2], alpha: 1).setFill()
            context.fill(whole)
            UIColor.white.setFill()
            context.fill(place.intersection(whole))
            context.cgContext.interpolationQuality = .high // as in training, all pixels count
            image.draw(in: place)
        }
    }
}

// MARK: - The app

@main
struct ClassifierApp: App {
    var body: some Scene {
        WindowGroup { ContentView() }
    }
}

struct ContentView: View {
    @State private var classifier: Classifier?
    @State private var image: UIImage?
    @State private var answer: Answer?
    @State private var problem: String?
    @State private var chosen: PhotosPickerItem?
    @State private var photographing = false

    var body: some View {
        VStack(alignment: .leading, spacing: 16) {
            Text(classifier?.about.title ?? "").font(.title)
            if let image {
                Image(uiImage: image).resizable().scaledToFit()
            }
            if let answer {
                ForEach(Array(answer.classes.enumerated()), id: \.offset) { _, found in
                    Text(String(format: "%5.1f %%  ", 100 * found.share) + found.name)
                }
                Text(String(format: "%.0f ms on the ", answer.milliseconds) + answer.processor)
            }
            if let problem {
                Text(problem).foregroundColor(.red)
            }
            Spacer()
            HStack {
                if UIImagePickerController.isSourceTypeAvailable(.camera) {
                    Button("Camera") { photographing = true }
                }
                PhotosPicker("Picture", selection: $chosen, matching: .images)
            }
        }
        .padding()
        .onAppear(perform: open)
        .onChange(of: chosen) { item in
            Task { await load(item) }
        }
        .fullScreenCover(isPresented: $photographing) {
            Camera { taken in
                photographing = false
                if let taken { classify(taken) }
            }
            .ignoresSafeArea()
        }
    }

    private func open() {
        guard classifier == nil else { return }
        do {
            classifier = try Classifier()
        } catch {
            problem = "The network cannot be opened: \(error.localizedDescription)"
        }
    }

    @MainActor
    private func load(_ item: PhotosPickerItem?) async {
        guard let item else { return }
        guard let data = try? await item.loadTransferable(type: Data.self), let picture = UIImage(data: data) else {
            problem = "This picture cannot be read."
            return
        }
        classify(picture)
    }

    private func classify(_ picture: UIImage) {
        image = picture
        answer = nil
        do {
            answer = try classifier?.classify(picture)
            problem = nil
        } catch {
            problem = "The network cannot be run: \(error.localizedDescription)"
        }
    }
}

/// iOS' own camera. It asks for permission, and hands over the photograph, or nil.
struct Camera: UIViewControllerRepresentable {
    let done: (UIImage?) -> Void

    func makeUIViewController(context: Context) -> UIImagePickerController {
        let picker = UIImagePickerController()
        picker.sourceType = .camera
        picker.delegate = context.coordinator
        return picker
    }

    func updateUIViewController(_: UIImagePickerController, context _: Context) {}

    func makeCoordinator() -> Coordinator { Coordinator(done: done) }

    final class Coordinator: NSObject, UIImagePickerControllerDelegate, UINavigationControllerDelegate {
        private let done: (UIImage?) -> Void

        init(done: @escaping (UIImage?) -> Void) { self.done = done }

        func imagePickerController(
            _: UIImagePickerController,
            didFinishPickingMediaWithInfo info: [UIImagePickerController.InfoKey: Any]
        ) {
            done(info[.originalImage] as? UIImage)
        }

        func imagePickerControllerDidCancel(_: UIImagePickerController) { done(nil) }
    }
}
