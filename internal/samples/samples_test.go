package samples

import (
	"bytes"
	"image/jpeg"
	"testing"
)

// TestImages expects pictures that every program can open, the same for the same seed
// alone, and exactly as many bytes as are asked for.
func TestImages(t *testing.T) {
	t.Parallel()
	const size = 300_000
	b := Images(1, size)
	if len(b) != size || !bytes.Equal(b, Images(1, size)) || bytes.Equal(b, Images(2, size)) {
		t.Errorf("%d bytes, want %d that only the same seed makes", len(b), size)
	}
	in := bytes.NewReader(b)
	p, err := jpeg.Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Bounds(); got.Dx() != imageSide || got.Dy() != imageSide {
		t.Errorf("a picture of %v, want %d by %d", got, imageSide, imageSide)
	}
}

// TestKinds expects records and payloads to have the size that they are to have, to be
// the same for the same seed, and others for another.
func TestKinds(t *testing.T) {
	t.Parallel()
	for _, k := range Kinds {
		a, b := k.Records(1, 3), k.Records(2, 3)
		for i, r := range a {
			if len(r) < 100 || len(r) > 400 || bytes.Equal(r, b[i]) || !bytes.Equal(r, k.Records(1, 3)[i]) {
				t.Errorf("%s: record %q of seed 1, %q of seed 2", k.Name, r, b[i])
			}
		}
		for _, size := range []int{0, 1, 128, 100_000} {
			if p := k.Payload(1, size); len(p) != size || !bytes.Equal(p, k.Payload(1, size)) {
				t.Errorf("%s: a payload of %d bytes, want the same %d each time", k.Name, len(p), size)
			}
		}
		if ByName(k.Name).Name != k.Name {
			t.Errorf("%s is not found by its name", k.Name)
		}
	}
}
