package compression_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestReaderWaitsForNoCodec holds that what else arrives does not wait while a
// Compressor makes the messages of inline handlers wait for their turn, as those of
// package compress do while others have long messages.
func TestReaderWaitsForNoCodec(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		var mu sync.Mutex
		turn := sync.NewCond(&mu)
		taken := false
		set := func(to bool) {
			mu.Lock()
			defer mu.Unlock()
			taken = to
			turn.Broadcast()
		}
		wait := func() {
			mu.Lock()
			defer mu.Unlock()
			for taken {
				turn.Wait()
			}
		}
		good := compress.S2()
		quick := misbehaving{Codec: good, name: "turns"}
		slow := misbehaving{
			Codec: good, name: "turns",
			pack: func(dst, src []byte) []byte {
				wait()
				return good.Append(dst, src)
			},
			unpack: func(dst, src []byte, limit int) ([]byte, error) {
				wait()
				return good.Decode(dst, src, limit)
			},
		}
		c := lab.InmemLink().Cluster(t, 2, coretest.WithHandlers(func(i int, m *core.Manager) error {
			with := core.WithCompression([]core.Compressor{quick, slow}[i])
			return errors.Join(register(m, with),
				m.HandleAppend("gives", func(_ context.Context, _, dst []byte) ([]byte, error) {
					return append(dst, text(1, 5000)...), nil
				}, core.WithInline(), with))
		}))
		wantsAreKnown(t, c, 0, 1, "inline")
		set(true)
		for h, req := range map[core.HandlerID][]byte{"inline": text(1, 5000), "gives": nil} {
			call := lab.GoCall(t.Context(), c.Conn(0, 1), h, req)
			synctest.Wait()
			other := lab.GoCall(t.Context(), c.Conn(0, 1), "echo", []byte("small"))
			if got := lab.Wait(t, other, "a call beside one to "+string(h)); string(got.Resp) != "small" {
				t.Errorf("beside one to %s a call returned %q, %v", h, got.Resp, got.Err)
			}
			set(false)
			if got := lab.Wait(t, call, "the call to "+string(h)); !bytes.Equal(got.Resp, text(1, 5000)) {
				t.Errorf("%s returned %d bytes, %v", h, len(got.Resp), got.Err)
			}
			set(true)
		}
		set(false)
	})
}
