"""Recordings in what libsndfile does not write, by PyAV."""

import av
import soundfile

CODINGS = (  # format, muxer, encoder, Hz
    ("MP4", "mp4", "aac", 44100),
    ("MP4", "ipod", "alac", 16000),
    ("MP4", "3gp", "aac", 16000),
    ("MP4", "mov", "pcm_s16le", 16000),
    ("WebM", "webm", "libopus", 48000),
    ("WebM", "matroska", "aac", 44100),
    ("WMA", "asf", "wmav2", 44100),
    ("AVI", "avi", "mp3", 44100),
    ("FLV", "flv", "aac", 44100),
    ("TTA", "tta", "tta", 16000),
    ("WavPack", "wv", "wavpack", 16000),
    ("AAC", "adts", "aac", 16000),
    ("AMR", "amr", "libopencore_amrnb", 8000),
    ("AC-3", "ac3", "ac3", 48000),
    ("MPEG", "mpeg", "mp2", 44100),
    ("MPEG-TS", "mpegts", "aac", 44100),
    ("WAV", "wav", "g722", 16000),
    ("WAV", "wav", "wmav2", 44100),
    ("AU", "au", "adpcm_g722", 16000),
    ("CAF", "caf", "adpcm_ima_qt", 16000),
    ("OGG", "ogg", "flac", 16000),
    ("W64", "w64", "mp3", 16000),
)
# The first of each format that libsndfile does not read.
FFMPEG = {name: coding for name, *coding in reversed(CODINGS) if name not in soundfile.available_formats()}


def encode(path, muxer, encoder, rate, samples, samples_rate=16000):
    """Write mono samples [n], an MP4's header first."""
    options = {"movflags": "faststart"} if muxer in ("mp4", "ipod", "mov", "3gp") else {}
    with av.open(str(path), "w", format=muxer, options=options) as file:
        stream = file.add_stream(encoder, rate=rate, layout="mono")
        stream.codec_context.bit_rate = 12200 if "amrnb" in encoder else 64000
        stream.codec_context.open()
        size = stream.codec_context.frame_size
        convert = av.AudioResampler(stream.codec_context.format.name, "mono", rate, size or None)
        frame = av.AudioFrame.from_ndarray(samples[None].astype("float32"), "fltp", "mono")
        frame.sample_rate, frame.pts = samples_rate, 0
        for part in [*convert.resample(frame), *convert.resample(None), None]:
            file.mux(stream.encode(part))


def film(path, samples=None, rate=16000):
    """Write two seconds of grey pictures as an MP4, with sound if there is some."""
    with av.open(str(path), "w", format="mp4") as file:
        pictures = file.add_stream("mpeg4", rate=10)
        pictures.width = pictures.height = 32
        sound = None if samples is None else file.add_stream("aac", rate=rate, layout="mono")
        for _ in range(20):
            file.mux(pictures.encode(av.VideoFrame(32, 32, "yuv420p")))
        file.mux(pictures.encode(None))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(samples[None].astype("float32"), "fltp", "mono")
            frame.sample_rate, frame.pts = rate, 0
            file.mux(sound.encode(frame))
            file.mux(sound.encode(None))
