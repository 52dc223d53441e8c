package compress

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/compress/internal/slots"
)

// TestInBubble expects the clock to tell a bubble, even after years in it.
func TestInBubble(t *testing.T) {
	if inBubble() {
		t.Error("outside looks like a bubble")
	}
	synctest.Test(t, func(t *testing.T) {
		if !inBubble() {
			t.Error("a bubble looks like outside")
		}
		time.Sleep(40 * 365 * 24 * time.Hour)
		if !inBubble() {
			t.Error("after forty years a bubble looks like outside")
		}
	})
}

// TestDecodersOfBubbles expects that no decoder made in a bubble is kept: its
// channel belongs to the bubble. One that was made outside is kept and used.
func TestDecodersOfBubbles(t *testing.T) {
	src := make([]byte, 100)
	kept := func(c *Codec) bool {
		z, ok := c.plain.(*zstdCoder)
		if !ok {
			t.Fatal("no coder of zstd")
		}
		slot := z.decoders.Take(100)
		defer slot.Release()
		return slot.Value != nil
	}
	synctest.Test(t, func(t *testing.T) {
		c := Zstd()
		if _, err := c.Decode(nil, c.Append(nil, src), 100); err != nil {
			t.Fatal(err)
		}
		if kept(c) {
			t.Error("a decoder made in a bubble was kept")
		}
	})
	if !kept(Zstd()) {
		t.Error("a codec made outside has no decoder, so that each message in a bubble would make one")
	}
}

// TestBrokenCoder expects a panic of the library to cost the message and the
// coder, and the next message to get a new one.
func TestBrokenCoder(t *testing.T) {
	t.Parallel()
	c, ok := Zstd(WithConcurrency(1)).plain.(*zstdCoder)
	if !ok {
		t.Fatal("no coder of zstd")
	}
	src := make([]byte, 1000)
	enc := c.encoders.Take(len(src))
	enc.Value = &zstdEncoder{}
	enc.Release()
	if got := c.compress([]byte("x"), src); string(got) != "x" {
		t.Errorf("a broken encoder appended %d bytes", len(got)-1)
	}
	packed := c.compress(nil, src)

	dec := c.decoders.Take(len(src))
	dec.Value = brokenDecoder{}
	dec.Release()
	if got, err := c.decode([]byte("x"), packed, 1000); err == nil || string(got) != "x" {
		t.Errorf("a broken decoder returned %d bytes and error %v", len(got), err)
	}
	if got, err := c.decode(nil, packed, 1000); err != nil || len(got) != 1000 {
		t.Errorf("after it: %d bytes and error %v", len(got), err)
	}

	s := &s2Coder{turns: slots.NewPair[struct{}](1)}
	s.encode = func(_, _ []byte) []byte { panic("broken") }
	s.decod = func(_, _ []byte) ([]byte, error) { panic("broken") }
	if got := s.compress([]byte("x"), src); string(got) != "x" {
		t.Errorf("a broken encoder of S2 appended %d bytes", len(got)-1)
	}
	if got, err := s.decode([]byte("x"), []byte{1, 0, 0}, 1000); err == nil || string(got) != "x" {
		t.Errorf("a broken decoder of S2 returned %d bytes and error %v", len(got), err)
	}
}

type brokenDecoder struct{}

func (brokenDecoder) DecodeAll(_, _ []byte) ([]byte, error) { panic("broken") }

// TestSmallMessagesBehindLargeOnes expects a message up to 64 KiB to be coded while
// every place for larger ones is taken.
func TestSmallMessagesBehindLargeOnes(t *testing.T) {
	t.Parallel()
	large, small := make([]byte, slots.Small+1), make([]byte, slots.Small)
	z, ok := Zstd(WithConcurrency(1)).plain.(*zstdCoder)
	if !ok {
		t.Fatal("no coder of zstd")
	}
	s, ok := S2(WithConcurrency(1)).plain.(*s2Coder)
	if !ok {
		t.Fatal("no coder of S2")
	}
	defer z.encoders.Take(len(large)).Release()
	defer z.decoders.Take(len(large)).Release()
	defer s.turns.Take(len(large)).Release()
	for name, c := range map[string]coder{"zstd": z, "s2": s} {
		got, err := c.decode(nil, c.compress(nil, small), len(small))
		if err != nil || len(got) != len(small) {
			t.Errorf("%s: %d bytes and error %v", name, len(got), err)
		}
	}
}
