package compress_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/zstd"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/internal/samples"
)

// conversation returns messages of all kinds and of the sizes that share windows.
func conversation(seed uint64, n int) (all [][]byte) {
	r := rand.New(rand.NewPCG(seed, 1))
	for range n {
		k := samples.Kinds[r.IntN(len(samples.Kinds))]
		all = append(all, k.Payload(r.Uint64(), []int{1, 2, 32, 200, 1000, 5000, 32 << 10, 64 << 10}[r.IntN(8)]))
	}
	return all
}

// TestWindow expects messages to become what they were in the order in which they
// were compressed, far beyond the window, at most 12 bytes larger on the way, behind
// what stands in dst; and all of them to be one frame that the library understands.
func TestWindow(t *testing.T) {
	t.Parallel()
	for _, level := range []compress.Level{compress.Fastest, compress.Best} {
		c := compress.Zstd(compress.WithLevel(level))
		in, out := c.NewWindow(), compress.Zstd().NewWindow()
		var frame, plain []byte
		for i, msg := range conversation(1, 300) {
			packed := in.Append([]byte("x"), msg)
			if packed[0] != 'x' || len(packed) < 2 || len(packed)-1 > len(msg)+12 || i > 0 && len(packed)-1 > len(msg)+6 {
				t.Fatalf("message %d of %d bytes became %d", i, len(msg), len(packed)-1)
			}
			got, err := out.Decode([]byte("y"), packed[1:], len(msg))
			if err != nil || !bytes.Equal(got, append([]byte("y"), msg...)) {
				t.Fatalf("message %d of %d bytes became %d, %v", i, len(msg), len(got), err)
			}
			frame, plain = append(frame, packed[1:]...), append(plain, msg...)
		}
		dec, err := zstd.NewReader(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := dec.DecodeAll(append(frame, 1, 0, 0), nil)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("the library makes %d bytes of all, %v, want %d", len(got), err, len(plain))
		}
		dec.Close()
	}
}

// TestWindowsAreApart expects windows to know nothing of one another, whether they use
// the coders of one that is closed or not.
func TestWindowsAreApart(t *testing.T) {
	t.Parallel()
	c := compress.Zstd()
	msg := samples.Kinds[0].Payload(1, 2000)
	var first []byte
	for range 5 {
		in, out := c.NewWindow(), c.NewWindow()
		packed := in.Append(nil, msg)
		if first == nil {
			first = packed
		}
		again := in.Append(nil, msg)
		if !bytes.Equal(packed, first) || len(again) > 50 {
			t.Errorf("the first message became %d bytes, want the same %d as in another window; the same again %d", len(packed), len(first), len(again))
		}
		for _, p := range [][]byte{packed, again} {
			if got, err := out.Decode(nil, p, len(msg)); err != nil || !bytes.Equal(got, msg) {
				t.Errorf("%d bytes, %v, want %d", len(got), err, len(msg))
			}
		}
		other := c.NewWindow()
		if _, err := other.Decode(nil, again, len(msg)); !errors.Is(err, compress.ErrCorrupt) {
			t.Errorf("a message without the one before it: %v", err)
		}
		if _, err := other.Decode(nil, packed, len(msg)); err == nil {
			t.Error("a window goes on after an error")
		}
		for _, w := range []interface{ Close() }{in, out, other, other} {
			w.Close()
		}
		if _, err := out.Decode(nil, again, len(msg)); err == nil || len(in.Append(nil, msg)) != 0 {
			t.Error("a closed window goes on")
		}
	}
}

// TestNoWindows expects S2 to have none, and an empty message to have no form.
func TestNoWindows(t *testing.T) {
	t.Parallel()
	if w := compress.S2().NewWindow(); w != nil {
		t.Error("S2 has a window")
	}
	w := compress.Zstd().NewWindow()
	if got := w.Append([]byte("x"), nil); string(got) != "x" {
		t.Errorf("the empty message became %q", got[1:])
	}
}

// TestHostileWindows expects what no window makes to be refused before memory is taken
// for it, and the window to be over after it.
func TestHostileWindows(t *testing.T) {
	t.Parallel()
	msg := samples.Kinds[0].Payload(1, 5000)
	honest := func() []byte { return compress.Zstd().NewWindow().Append(nil, msg) }
	header := honest()[:6]
	with := func(parts ...[]byte) []byte { return append(bytes.Clone(header), bytes.Join(parts, nil)...) }
	for name, test := range map[string]struct {
		src  []byte
		size int
		want error
	}{
		"nothing":                      {nil, 100, compress.ErrCorrupt},
		"a header alone":               {header, 100, compress.ErrCorrupt},
		"less than its size":           {honest(), 5001, compress.ErrCorrupt},
		"more than its size":           {honest(), 4999, compress.ErrCorrupt},
		"much more than its size":      {with(block(false, 1, 60_000, 0)), 10, compress.ErrCorrupt},
		"one byte more":                {with(block(false, 1, 2, 0)), 1, compress.ErrCorrupt},
		"many times as much":           {with(bytes.Repeat(block(false, 1, 65_000, 0), 1000)), 65_000, compress.ErrCorrupt},
		"something behind it":          {append(honest(), 0), 5000, compress.ErrCorrupt},
		"an empty block behind it":     {append(honest(), 0, 0, 0), 5000, compress.ErrCorrupt},
		"empty blocks":                 {with(bytes.Repeat([]byte{0, 0, 0}, 1000)), 1, compress.ErrCorrupt},
		"a block over the window":      {with(block(false, 1, 100_000, 0)), 100_000, compress.ErrTooLarge},
		"a window of 8 MiB":            {append([]byte("\x28\xb5\x2f\xfd\x00\x68"), block(false, 1, 100, 0)...), 100, compress.ErrTooLarge},
		"a window of an exbibyte":      {append([]byte("\x28\xb5\x2f\xfd\x00\xf8"), block(false, 1, 100, 0)...), 100, compress.ErrTooLarge},
		"a size of 4 EiB":              {frame(1<<62, block(false, 1, 100, 0)), 100, compress.ErrTooLarge},
		"a dictionary":                 {append([]byte("\x28\xb5\x2f\xfd\x01\x30\x07"), block(false, 1, 100, 0)...), 100, compress.ErrUnknownDictionary},
		"a frame to be skipped":        {[]byte("\x50\x2a\x4d\x18\xff\xff\xff\xffskip"), 100, compress.ErrCorrupt},
		"a message of the other codec": {compress.S2().Append(nil, msg), 5000, compress.ErrCorrupt},
	} {
		w := compress.Zstd().NewWindow()
		dst := append(make([]byte, 0, 200_000), "x"...)
		got, err := w.Decode(dst, test.src, test.size)
		if !errors.Is(err, test.want) || string(got) != "x" {
			t.Errorf("%s: %d bytes, %v, want %v", name, len(got), err, test.want)
		}
		if _, err := w.Decode(nil, honest(), 5000); err == nil {
			t.Errorf("%s: the window goes on", name)
		}
	}
}

// TestWindowsOfBubbles expects codecs to be usable in bubbles and outside, in any order.
func TestWindowsOfBubbles(t *testing.T) {
	t.Parallel()
	c := compress.Zstd()
	talk := func(t *testing.T) {
		t.Helper()
		in, out := c.NewWindow(), c.NewWindow()
		defer in.Close()
		defer out.Close()
		for i, msg := range conversation(2, 20) {
			if got, err := out.Decode(nil, in.Append(nil, msg), len(msg)); err != nil || !bytes.Equal(got, msg) {
				t.Fatalf("message %d: %v", i, err)
			}
		}
	}
	for range 3 {
		synctest.Test(t, talk)
		talk(t)
	}
}

// FuzzWindow gives a window three messages that may be anything.
func FuzzWindow(f *testing.F) {
	w := compress.Zstd().NewWindow()
	msg := samples.Kinds[0].Payload(1, 500)
	a, b := w.Append(nil, msg), w.Append(nil, msg)
	f.Add(a, b, b, 500)
	f.Add(a, []byte{1, 0, 0}, a, 500)
	f.Add(append(bytes.Clone(a[:6]), block(false, 1, 1000, 'x')...), block(false, 0, 3, 'a', 'b', 'c'), b, 1000)
	f.Fuzz(func(t *testing.T, a, b, c []byte, size int) {
		size = min(max(size, 0), 1<<20)
		w := compress.Zstd().NewWindow()
		defer w.Close()
		over := false
		for _, src := range [][]byte{a, b, c} {
			got, err := w.Decode([]byte("x"), src, size)
			if err == nil && (over || len(got) != 1+size) || err != nil && len(got) != 1 || got[0] != 'x' {
				t.Fatalf("%d bytes of %d, %v, after an error: %v", len(got)-1, size, err, over)
			}
			over = over || err != nil
		}
	})
}
