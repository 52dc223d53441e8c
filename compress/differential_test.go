package compress_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/internal/samples"
)

// TestAgainstTheLibrary expects that the library decodes what the codecs make,
// and that the codecs decode what the library makes, with a checksum and a
// window of its own too: nothing but the formats that other programs know is on
// the wire (W97).
func TestAgainstTheLibrary(t *testing.T) {
	t.Parallel()
	d := trained(t, "log", 1)
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderDicts(d.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	z, s := compress.Zstd(compress.WithDictionary(d)), compress.S2()
	for _, k := range samples.Kinds {
		for _, size := range sizes[1:] {
			if size > 200_000 && k.Name != "json" {
				continue // takes long, and nothing new
			}
			src := k.Payload(4, size)
			check := func(what string, got []byte, err error) {
				t.Helper()
				if err != nil || !bytes.Equal(got, src) {
					t.Errorf("%s, %d bytes, %s: error %v or other bytes", k.Name, size, what, err)
				}
			}
			got, err := decoder.DecodeAll(z.Append(nil, src), nil)
			check("library from zstd", got, err)
			got, err = decoder.DecodeAll(z.AppendDict(nil, src, d.ID()), nil)
			check("library from zstd with a dictionary", got, err)
			got, err = s2.Decode(nil, s.Append(nil, src))
			check("library from s2", got, err)

			got, err = s.Decode(nil, s2.EncodeBest(nil, src), size)
			check("s2 from library", got, err)
			for _, opts := range [][]zstd.EOption{
				{zstd.WithSingleSegment(true)},
				{zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false), zstd.WithEncoderLevel(zstd.SpeedBetterCompression)},
			} {
				got, err = z.Decode(nil, libraryZstd(t, src, opts...), size)
				check("zstd from library", got, err)
			}
			if size >= 256 { // below, the library leaves the size away
				got, err = z.Decode(nil, libraryZstd(t, src, zstd.WithWindowSize(64<<10), zstd.WithSingleSegment(false)), size)
				check("zstd from library, with a window", got, err)
			}
			got, err = z.DecodeDict(nil, libraryZstd(t, src, zstd.WithSingleSegment(true), zstd.WithEncoderDict(d.Bytes())), d.ID(), size)
			check("zstd from library, with a dictionary", got, err)
		}
	}
}

// seeds adds messages to a fuzz target: whole ones, broken ones, hostile ones.
func seeds(f *testing.F, codec string, c *compress.Codec, id uint64) {
	f.Helper()
	for _, k := range samples.Kinds {
		for _, size := range []int{0, 1, 40, 200, 3000} {
			f.Add(c.AppendDict(nil, k.Payload(5, size), id))
		}
	}
	for _, h := range hostiles(f) {
		if h.codec == codec && len(h.bytes) < 4<<10 {
			f.Add(h.bytes)
		}
	}
}

const fuzzLimit = 64 << 10

// judge holds what a codec may return for any message.
func judge(t *testing.T, dst, got []byte, err error) {
	t.Helper()
	switch {
	case err == nil && len(got) > len(dst)+fuzzLimit:
		t.Errorf("%d bytes, limit %d", len(got)-len(dst), fuzzLimit)
	case err != nil && len(got) != len(dst):
		t.Errorf("%d bytes with error %v", len(got)-len(dst), err)
	case !bytes.HasPrefix(got, dst):
		t.Error("dst was changed")
	case err != nil && !errors.Is(err, compress.ErrTooLarge) && !errors.Is(err, compress.ErrCorrupt) &&
		!errors.Is(err, compress.ErrUnknownDictionary):
		t.Errorf("error of no kind: %v", err)
	}
}

// FuzzZstdDecode expects of any bytes what the library decodes them to, or an
// error: it is stricter than the library.
func FuzzZstdDecode(f *testing.F) {
	c := compress.Zstd(compress.WithConcurrency(1))
	seeds(f, "zstd", c, 0)
	library, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(fuzzLimit))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(library.Close)
	f.Fuzz(func(t *testing.T, src []byte) {
		dst := []byte("dst")
		got, err := c.Decode(dst, src, fuzzLimit)
		judge(t, dst, got, err)
		want, libraryErr := library.DecodeAll(src, nil)
		var h zstd.Header
		_ = h.Decode(src) // if it fails, so does the library
		if err == nil && h.WindowSize <= fuzzLimit && (libraryErr != nil || !bytes.Equal(got[3:], want)) {
			t.Errorf("%d bytes, of the library %d bytes with error %v", len(got)-3, len(want), libraryErr)
		}
	})
}

// FuzzZstdDictDecode is FuzzZstdDecode with a dictionary.
func FuzzZstdDictDecode(f *testing.F) {
	d := trained(f, "json", 1)
	c := compress.Zstd(compress.WithConcurrency(1), compress.WithDictionary(d))
	seeds(f, "zstd", c, d.ID())
	f.Fuzz(func(t *testing.T, src []byte) {
		dst := []byte("dst")
		got, err := c.DecodeDict(dst, src, d.ID(), fuzzLimit)
		judge(t, dst, got, err)
	})
}

// FuzzS2Decode expects of any bytes what the library decodes them to, or an
// error.
func FuzzS2Decode(f *testing.F) {
	c := compress.S2()
	seeds(f, "s2", c, 0)
	f.Fuzz(func(t *testing.T, src []byte) {
		dst := []byte("dst")
		got, err := c.Decode(dst, src, fuzzLimit)
		judge(t, dst, got, err)
		if n, lenErr := s2.DecodedLen(src); lenErr != nil || n > fuzzLimit {
			if err == nil {
				t.Error("decoded beyond the limit")
			}
			return
		}
		want, libraryErr := s2.Decode(nil, src)
		if (err == nil) != (libraryErr == nil) || err == nil && !bytes.Equal(got[3:], want) {
			t.Errorf("error %v, of the library %v, or other bytes", err, libraryErr)
		}
	})
}

// FuzzS2DictDecode is FuzzS2Decode with a dictionary, which the library decodes
// with other code.
func FuzzS2DictDecode(f *testing.F) {
	d := trained(f, "json", 1)
	c := compress.S2(compress.WithDictionary(d))
	seeds(f, "s2", c, d.ID())
	f.Fuzz(func(t *testing.T, src []byte) {
		dst := []byte("dst")
		got, err := c.DecodeDict(dst, src, d.ID(), fuzzLimit)
		judge(t, dst, got, err)
	})
}

// FuzzRoundTrip expects any message back from every codec, with a dictionary and
// without.
func FuzzRoundTrip(f *testing.F) {
	d := trained(f, "json", 1)
	all := []*compress.Codec{
		compress.Zstd(compress.WithConcurrency(1), compress.WithDictionary(d)),
		compress.Zstd(compress.WithConcurrency(1), compress.WithDictionary(d), compress.WithLevel(compress.Balanced)),
		compress.S2(compress.WithDictionary(d)),
		compress.S2(compress.WithDictionary(d), compress.WithLevel(compress.Better)),
	}
	for _, k := range samples.Kinds {
		for _, size := range []int{0, 1, 31, 32, 33, 200, 3000} {
			f.Add(k.Payload(6, size))
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, c := range all {
			for _, id := range []uint64{0, d.ID()} {
				got, err := c.DecodeDict(nil, c.AppendDict(nil, src, id), id, len(src))
				if err != nil || !bytes.Equal(got, src) {
					t.Errorf("%s, dictionary %x: error %v or other bytes", c.Name(), id, err)
				}
			}
		}
	})
}

// FuzzParseDictionary expects of any bytes an error, or a dictionary that codecs
// work with.
func FuzzParseDictionary(f *testing.F) {
	for _, kind := range []string{"json", "log"} {
		d, err := compress.Train(samples.ByName(kind).Records(1, 50), 256)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(d.Bytes())
		f.Add(d.Bytes()[:len(d.Bytes())/2])
	}
	f.Add([]byte("\x37\xa4\x30\xec\x01\x00\x00\x00"))
	src := samples.ByName("json").Records(2, 1)[0]
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := compress.ParseDictionary(b)
		if err != nil {
			return
		}
		if !bytes.Equal(d.Bytes(), b) || d.ID() == 0 {
			t.Errorf("dictionary %x is not what was parsed", d.ID())
		}
		c := compress.S2(compress.WithDictionary(d))
		if c.Err() != nil {
			t.Fatal(c.Err())
		}
		got, err := c.DecodeDict(nil, c.AppendDict(nil, src, d.ID()), d.ID(), len(src))
		if err != nil || !bytes.Equal(got, src) {
			t.Errorf("error %v or other bytes", err)
		}
	})
}
