package samples

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
)

const (
	imageSide    = 512 // pixels
	imageQuality = 95
)

// Images returns size bytes of JPEG files, one behind the other, as a handler sees
// them that stores pictures in pieces. Different seeds make different pictures. Nothing
// makes them smaller to speak of.
func Images(seed uint64, size int) []byte {
	r := rand.New(rand.NewPCG(seed, 3))
	var b bytes.Buffer
	for b.Len() < size {
		// To memory, of a picture of a size that the format has: it cannot fail.
		_ = jpeg.Encode(&b, picture(r), &jpeg.Options{Quality: imageQuality})
	}
	return b.Bytes()[:size]
}

// picture has what photographs have: light that changes slowly, edges, and the grain
// of a sensor.
func picture(r *rand.Rand) image.Image {
	p := image.NewYCbCr(image.Rect(0, 0, imageSide, imageSide), image.YCbCrSubsampleRatio420)
	var across, down [imageSide]float64
	for _, line := range []*[imageSide]float64{&across, &down} {
		slow, quick := r.Float64()*math.Pi, 4+r.Float64()*8
		edge := r.IntN(imageSide)
		for i := range line {
			at := float64(i) / imageSide * 2 * math.Pi
			line[i] = 64 + 30*math.Sin(at+slow) + 12*math.Sin(quick*at)
			if i > edge {
				line[i] += 20
			}
		}
	}
	for y := range imageSide {
		for x := range imageSide {
			light := across[x] + down[y] + 40*(r.Float64()-0.5)
			p.Y[p.YOffset(x, y)] = uint8(min(max(light, 0), 255))
		}
	}
	for i := range p.Cb {
		x, y := i%(imageSide/2), i/(imageSide/2)
		p.Cb[i] = uint8(96 + across[2*x]/4 + 6*r.Float64())
		p.Cr[i] = uint8(96 + down[2*y]/4 + 6*r.Float64())
	}
	return p
}
