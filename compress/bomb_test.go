package compress_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/internal/samples"
)

const bombLimit = 1 << 20

// hostile is a compressed message that must not be decoded.
type hostile struct {
	codec string
	name  string
	bytes []byte
	want  error
}

// frame returns a frame of zstd with a size, in the single segment form, and the
// blocks as they are.
func frame(size uint64, blocks ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint64([]byte("\x28\xb5\x2f\xfd\xe0"), size)
	return append(b, bytes.Join(blocks, nil)...)
}

// block returns a block of a frame: type 0 is stored, 1 is a repeated byte, 2 is
// compressed, and 3 is reserved.
func block(last bool, kind, size int, content ...byte) []byte {
	h := uint32(size)<<3 | uint32(kind)<<1
	if last {
		h |= 1
	}
	return append([]byte{byte(h), byte(h >> 8), byte(h >> 16)}, content...)
}

// libraryZstd returns the frame that the library makes with the options.
func libraryZstd(tb testing.TB, src []byte, opts ...zstd.EOption) []byte {
	tb.Helper()
	e, err := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithEncoderConcurrency(1)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	return e.EncodeAll(src, nil)
}

func hostiles(tb testing.TB) []hostile {
	tb.Helper()
	const block128 = 128 << 10
	zeros := make([]byte, 64<<20)
	honest := samples.ByName("json").Payload(1, 500_000)
	zHonest := compress.Zstd().Append(nil, honest)
	sHonest := compress.S2().Append(nil, honest)
	zZeros, sZeros := libraryZstd(tb, zeros), s2.Encode(nil, zeros)
	flipped := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 0x55
		return b
	}
	full := block(false, 1, block128, 0)
	eight := bytes.Repeat(full, 8) // exactly the limit
	skippable := []byte("\x50\x2a\x4d\x18\x04\x00\x00\x00skip")
	var window bytes.Buffer
	stream, err := zstd.NewWriter(&window, zstd.WithWindowSize(128<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	stream.ResetContentSize(&window, int64(len(honest)))
	if _, err := stream.Write(honest); err != nil {
		tb.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		tb.Fatal(err)
	}
	huge := window.Bytes() // a window that fits the content: enlarge it
	huge[5] = (27 - 10) << 3
	var sizeless bytes.Buffer
	stream.Reset(&sizeless)
	if _, err := stream.Write(honest); err != nil {
		tb.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		tb.Fatal(err)
	}

	list := []hostile{
		{"zstd", "64 MiB of zeros", zZeros, compress.ErrTooLarge},
		{"zstd", "4 EiB declared", frame(1<<62, block(true, 1, 1, 0)), compress.ErrTooLarge},
		{"zstd", "4 GiB declared", frame(4<<30, block(true, 1, 1, 0)), compress.ErrTooLarge},
		{"zstd", "all that is allowed declared, one byte there", frame(bombLimit, block(true, 1, 1, 0)), compress.ErrCorrupt},
		{"zstd", "less declared than there is", frame(bombLimit, eight, full, block(true, 0, 0)), compress.ErrCorrupt},
		{"zstd", "one byte declared, much more there", frame(1, bytes.Repeat(full, 4000), block(true, 0, 0)), compress.ErrCorrupt},
		{"zstd", "less declared than compressed blocks have", relabel(libraryZstd(tb, zeros[:bombLimit], zstd.WithSingleSegment(true)), 900_000), compress.ErrCorrupt},
		{"zstd", "window of 128 MiB", huge, compress.ErrTooLarge},
		{"zstd", "no size declared", sizeless.Bytes(), compress.ErrCorrupt},
		{"zstd", "two frames", append(bytes.Clone(zHonest), zHonest...), compress.ErrCorrupt},
		{"zstd", "skippable frame in front", append(bytes.Clone(skippable), zHonest...), compress.ErrCorrupt},
		{"zstd", "skippable frame behind", append(bytes.Clone(zHonest), skippable...), compress.ErrCorrupt},
		{"zstd", "skippable frame alone", skippable, compress.ErrCorrupt},
		{"zstd", "skippable frame of 4 GiB", []byte("\x50\x2a\x4d\x18\xff\xff\xff\xff"), compress.ErrCorrupt},
		{"zstd", "dictionary that nobody has", []byte("\x28\xb5\x2f\xfd\x21\x07\x01\x09\x00\x00x"), compress.ErrUnknownDictionary},
		{"zstd", "reserved block", frame(1, block(true, 3, 1, 0)), compress.ErrCorrupt},
		{"zstd", "reserved bit", []byte("\x28\xb5\x2f\xfd\x28\x01\x09\x00\x00x"), compress.ErrCorrupt},
		{"zstd", "block above 128 KiB", frame(300_000, block(true, 1, 300_000, 0)), compress.ErrCorrupt},
		{"zstd", "garbage in a compressed block", frame(1000, block(true, 2, 9, []byte("gibberish")...)), compress.ErrCorrupt},
		{"zstd", "corrupt block", flipped(zHonest, len(zHonest)/2), compress.ErrCorrupt},
		{"zstd", "checksum that does not match", flipped(libraryZstd(tb, honest), len(libraryZstd(tb, honest))-1), compress.ErrCorrupt},
		{"zstd", "nothing", nil, compress.ErrCorrupt},
		{"zstd", "message of s2", sHonest, compress.ErrCorrupt},

		{"s2", "64 MiB of zeros", sZeros, compress.ErrTooLarge},
		{"s2", "4 GiB declared", append(binary.AppendUvarint(nil, 1<<32-1), sHonest...), compress.ErrTooLarge},
		{"s2", "16 EiB declared", append(binary.AppendUvarint(nil, 1<<64-1), sHonest...), compress.ErrCorrupt},
		{"s2", "all that is allowed declared, one byte there", append(binary.AppendUvarint(nil, bombLimit), 0, 'x'), compress.ErrCorrupt},
		{"s2", "one byte declared, much more there", append([]byte{1}, sZeros[4:]...), compress.ErrCorrupt},
		{"s2", "two blocks", append(bytes.Clone(sHonest), sHonest...), compress.ErrCorrupt},
		{"s2", "corrupt block", flipped(sHonest, 4), compress.ErrCorrupt},
		{"s2", "offset in front of the block", []byte{8, 0x01 | 4<<2, 0xff}, compress.ErrCorrupt},
		{"s2", "size cut off", []byte{0xff}, compress.ErrCorrupt},
		{"s2", "nothing", nil, compress.ErrCorrupt},
		{"s2", "message of zstd", zHonest, compress.ErrCorrupt},
	}
	for _, cut := range []int{1, 4, 5, 8, 9, 100, len(zHonest) / 2, len(zHonest) - 1} {
		list = append(list, hostile{"zstd", "cut off", zHonest[:cut], compress.ErrCorrupt})
	}
	for _, cut := range []int{1, 3, 100, len(sHonest) / 2, len(sHonest) - 1} {
		list = append(list, hostile{"s2", "cut off", sHonest[:cut], compress.ErrCorrupt})
	}
	return list
}

// relabel gives a frame whose size has four bytes another size.
func relabel(frame []byte, size uint32) []byte {
	binary.LittleEndian.PutUint32(frame[5:], size)
	return frame
}

// TestHostileMessages expects an error of the right kind for each, dst as it
// was, no more memory than the limit and a window, and a codec that goes on (T5,
// F25).
func TestHostileMessages(t *testing.T) {
	honest := samples.ByName("json").Payload(1, 100_000)
	for _, c := range []*compress.Codec{compress.Zstd(), compress.S2()} {
		packed := c.Append(nil, honest)
		if _, err := c.Decode(nil, packed, len(honest)); err != nil { // the decoder is there from now on
			t.Fatal(err)
		}
		for _, h := range hostiles(t) {
			if h.codec != c.Name() {
				continue
			}
			got, err := []byte(nil), error(nil)
			used := allocated(func() { got, err = c.Decode([]byte("dst"), h.bytes, bombLimit) })
			if !errors.Is(err, h.want) {
				t.Errorf("%s, %s: error is %v, want %v", h.codec, h.name, err, h.want)
			}
			if string(got) != "dst" {
				t.Errorf("%s, %s: returned %d bytes behind dst with the error", h.codec, h.name, len(got)-3)
			}
			if used > bombLimit+512<<10 {
				t.Errorf("%s, %s: allocated %d bytes, the limit is %d", h.codec, h.name, used, bombLimit)
			}
			if errors.Is(h.want, compress.ErrTooLarge) && used > 64<<10 {
				t.Errorf("%s, %s: allocated %d bytes for what is refused by its size", h.codec, h.name, used)
			}
		}
		if got, err := c.Decode(nil, packed, len(honest)); err != nil || !bytes.Equal(got, honest) {
			t.Errorf("%s: afterwards an honest message has error %v", c.Name(), err)
		}
	}
}

// TestClaims expects nothing to be allocated for what the bytes of a message
// cannot stand for, below the limit too (T5).
func TestClaims(t *testing.T) {
	const limit = 1 << 30
	for _, h := range []struct {
		codec *compress.Codec
		bytes []byte
	}{
		{compress.Zstd(), frame(limit, block(true, 1, 128<<10, 0))},
		{compress.Zstd(), frame(limit, block(false, 2, 3, 1, 2, 3), block(true, 0, 1, 'x'))},
		{compress.S2(), append(binary.AppendUvarint(nil, limit), 0, 'x')},
	} {
		var err error
		used := allocated(func() { _, err = h.codec.Decode(nil, h.bytes, limit) })
		if !errors.Is(err, compress.ErrCorrupt) || used > 64<<10 {
			t.Errorf("%s: %d bytes claim to be 1 GiB: error %v, allocated %d bytes", h.codec.Name(), len(h.bytes), err, used)
		}
	}
}

// allocated returns how many bytes f allocates, garbage included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestLargeMessageOfTheLimit expects a message of exactly the limit to be
// decoded, in dst if there is room, and no more to be allocated than the limit
// and a block.
func TestLargeMessageOfTheLimit(t *testing.T) {
	for name, c := range codecs() {
		if name == "s2-3" || name == "zstd-3" {
			continue
		}
		for _, k := range []string{"json", "random"} {
			// Half of it compresses, so that blocks of several kinds follow one another.
			src := append(samples.ByName(k).Payload(1, 700_000), samples.ByName("json").Payload(2, 300_001)...)
			packed := c.Append(nil, src)
			if _, err := c.Decode(nil, packed, len(src)); err != nil {
				t.Fatal(err)
			}
			var got []byte
			var err error
			used := allocated(func() { got, err = c.Decode(nil, packed, len(src)) })
			if err != nil || !bytes.Equal(got, src) {
				t.Errorf("%s, %s: error %v or other bytes", name, k, err)
			}
			if most := uint64(len(src) + 128<<10 + 64<<10); used > most {
				t.Errorf("%s, %s: allocated %d bytes for %d", name, k, used, len(src))
			}
			dst := make([]byte, 0, len(src)+128<<10)
			if got, err = c.Decode(dst, packed, len(src)); err != nil || &got[0] != &dst[:1][0] {
				t.Errorf("%s, %s: error %v, or not decoded to dst", name, k, err)
			}
		}
	}
}

// TestNested expects one layer to be decoded, and what is in it to stay what it
// is (T5).
func TestNested(t *testing.T) {
	t.Parallel()
	for _, c := range []*compress.Codec{compress.Zstd(), compress.S2()} {
		inner := c.Append(nil, make([]byte, 64<<20))
		if got, err := c.Decode(nil, c.Append(nil, inner), bombLimit); err != nil || !bytes.Equal(got, inner) {
			t.Errorf("%s: error %v, or not the message that was in it", c.Name(), err)
		}
	}
}
