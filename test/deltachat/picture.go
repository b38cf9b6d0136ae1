package deltachat

import (
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// picture writes a PNG of noise, which no compression makes smaller, and gives
// its path: 1,200 x 1,000 points of three octets, 3.6 MB. The same seed gives
// the same picture.
func picture(t testing.TB, seed byte) string {
	t.Helper()
	noise := rand.NewChaCha8([32]byte{seed})
	img := image.NewNRGBA(image.Rect(0, 0, 1200, 1000))
	noise.Read(img.Pix)
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 0xff // opaque, so that the file holds no alpha
	}
	path := filepath.Join(t.TempDir(), "noise.png")
	f, err := os.Create(path)
	if err != nil {
		t.Fatalf("picture: %v", err)
	}
	defer f.Close()
	encoder := png.Encoder{CompressionLevel: png.NoCompression}
	if err := encoder.Encode(f, img); err != nil {
		t.Fatalf("picture: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatalf("picture: %v", err)
	}
	return path
}
