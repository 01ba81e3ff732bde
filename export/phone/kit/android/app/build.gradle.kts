import org.jetbrains.kotlin.gradle.dsl.JvmTarget

plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "org.example.classifier"
    compileSdk = 36

    defaultConfig {
        applicationId = "org.example.classifier" // yours, before you publish the app
        minSdk = 28 // MediaPipe's
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
    }
    androidResources {
        noCompress += "tflite" // MediaPipe maps the file into memory
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

kotlin {
    compilerOptions {
        jvmTarget = JvmTarget.JVM_17
    }
}

dependencies {
    implementation("androidx.activity:activity-ktx:1.13.0")
    implementation("androidx.camera:camera-camera2:1.6.2")
    implementation("androidx.camera:camera-lifecycle:1.6.2")
    implementation("androidx.camera:camera-view:1.6.2")
    implementation("com.google.mediapipe:tasks-vision:0.10.35")
}
