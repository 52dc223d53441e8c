package compression_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestWishesAfterAnOverload expects a node that could not learn which handlers of a peer
// want compression, since the peer was overloaded as they connected, to learn it later.
func TestWishesAfterAnOverload(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		s2 := compress.S2()
		gate := lab.NewGate(t, 1)
		c := lab.InmemLink().Cluster(t, 2, coretest.WithConfig(func(i int, cfg *core.Config) {
			if i == 1 {
				cfg.MaxHandlersTotal = 1
			} else {
				cfg.Compressors = []core.Compressor{s2}
			}
		}), coretest.WithHandlers(func(i int, m *core.Manager) error {
			if i == 0 {
				return nil
			}
			return errors.Join(
				m.HandleAppend("zip", lab.EchoAppend, core.WithCompression(s2)), m.Handle("gate", gate.Handle))
		}))
		reply := lab.GoCall(t.Context(), c.Manager(1).Connection(c.Node(1).Name), "gate", nil)
		time.Sleep(time.Second)
		c.Restart(0)
		c.WaitConnected()
		time.Sleep(time.Second)
		gate.Release()
		<-reply
		time.Sleep(time.Minute)
		wantEcho(t, c.Conn(0, 1), "zip", text(1, 4000))
		if n := statsOf(c.Manager(0), "zip").Requests.Sent.Messages; n != 1 {
			t.Errorf("%d requests were compressed a minute after the overload, want 1", n)
		}
	})
}
