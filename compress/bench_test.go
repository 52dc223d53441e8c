package compress_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/internal/samples"
)

// BenchmarkAgainstTheLibrary measures what a message costs beside the bare call
// of the library with the same options: x-library is the median of the ratios of
// turns that alternate, and is to be at most 1.15.
func BenchmarkAgainstTheLibrary(b *testing.B) {
	d := trained(b, "json", 1)
	encoderOptions := []zstd.EOption{
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1 << 20),
		zstd.WithLowerEncoderMem(true), zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false),
	}
	encoder := func(opts ...zstd.EOption) *zstd.Encoder {
		e, err := zstd.NewWriter(nil, append(slices.Clone(encoderOptions), opts...)...)
		if err != nil {
			b.Fatal(err)
		}
		return e
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderDicts(d.Bytes()))
	if err != nil {
		b.Fatal(err)
	}
	defer decoder.Close()
	plain, with := encoder(), encoder(zstd.WithEncoderDict(d.Bytes()))
	z, s := compress.Zstd(compress.WithDictionary(d)), compress.S2()
	for _, size := range []int{200, 1000, 16 << 10, 256 << 10} {
		src := samples.ByName("json").Payload(1, size)
		packed := make([]byte, 0, 2*size+100)
		decoded := make([]byte, 0, 2*size+256<<10)
		zPacked, dPacked, sPacked := z.Append(nil, src), z.AppendDict(nil, src, d.ID()), s.Append(nil, src)
		for _, run := range []struct {
			name          string
			ours, library func()
		}{
			{"s2/append", func() { s.Append(packed, src) }, func() { s2.Encode(packed, src) }},
			{"s2/decode", func() { s.Decode(decoded, sPacked, size) }, func() { s2.Decode(decoded, sPacked) }},
			{"zstd/append", func() { z.Append(packed, src) }, func() { plain.EncodeAll(src, packed) }},
			{"zstd/decode", func() { z.Decode(decoded, zPacked, size) }, func() { decoder.DecodeAll(zPacked, decoded) }},
			{
				"zstd-dictionary/append",
				func() { z.AppendDict(packed, src, d.ID()) }, func() { with.EncodeAll(src, packed) },
			},
			{
				"zstd-dictionary/decode",
				func() { z.DecodeDict(decoded, dPacked, d.ID(), size) }, func() { decoder.DecodeAll(dPacked, decoded) },
			},
		} {
			b.Run(fmt.Sprintf("%s/%d", run.name, size), func(b *testing.B) {
				against(b, run.ours, run.library)
			})
		}
	}
}

// against measures a and b in turns.
func against(b *testing.B, ours, library func()) {
	b.Helper()
	const turn = 100
	timed := func(f func()) time.Duration {
		start := time.Now()
		for range turn {
			f()
		}
		return time.Since(start)
	}
	timed(ours)
	timed(library)
	var ratios, times []float64
	b.ResetTimer()
	for range b.N {
		o, l := timed(ours), timed(library)
		ratios = append(ratios, float64(o)/float64(l))
		times = append(times, float64(o)/turn)
	}
	slices.Sort(ratios)
	slices.Sort(times)
	b.ReportMetric(ratios[len(ratios)/2], "x-library")
	b.ReportMetric(times[len(times)/2], "ns/message")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkShared measures one codec with a goroutine per processor.
func BenchmarkShared(b *testing.B) {
	src := samples.ByName("json").Payload(1, 1000)
	for _, c := range []*compress.Codec{compress.S2(), compress.Zstd()} {
		b.Run(c.Name(), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				packed, decoded := make([]byte, 0, 2000), make([]byte, 0, 2000)
				for pb.Next() {
					if _, err := c.Decode(decoded, c.Append(packed, src), 1000); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
