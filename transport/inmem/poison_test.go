//go:build race || griddebug

package inmem_test

import (
	"bytes"
	"testing"

	"github.com/gridmux/gridmux/transport/inmem"
)

// TestPoison shows that a frame used after its time is not what it was.
func TestPoison(t *testing.T) {
	near, far := pair(t, inmem.NewNetwork())
	if err := near.WriteFrames([][]byte{make([]byte, 10_000), {1}}); err != nil {
		t.Fatal(err)
	}
	kept, err := far.ReadFrame(10_000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := far.ReadFrame(1); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, bytes.Repeat([]byte{0xdb}, 10_000)) {
		t.Error("a frame that was given back still has its content")
	}
}
