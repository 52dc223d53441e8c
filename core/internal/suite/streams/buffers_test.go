package streams_test

import (
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestLeastStreamBuffers holds that with Config.MaxStreamBuffers as small as it may be,
// one window, there is room for one stream with messages both ways, to another node and
// to the own one, of which both windows are here; and for no second one meanwhile (T9).
func TestLeastStreamBuffers(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const window = 10_000
		for _, f := range forms {
			c := l.Cluster(t, 2, f.serve("back", echo, 2, 2),
				lab.Configure(func(cfg *core.Config) { cfg.StreamWindow, cfg.MaxStreamBuffers = window, window }))
			for to := range 2 {
				for range 3 {
					st := f.mustOpen(t, c.Conn(0, to), "back", nil)
					if err := st.send([]byte("there")); err != nil {
						t.Fatalf("%s, to node %d: %v", f.name, to, err)
					}
					wantMessages(t, "the one stream", st, "there")
					_, err := f.open(t.Context(), c.Conn(0, to), "back", nil)
					wantKinds(t, "a second stream", err, core.ErrOverloaded)
					lab.WantText(t, "a second stream", err, "Config.MaxStreamBuffers (10000 bytes)")
					st.closeSend()
					wantEnd(t, "the one stream", st)
				}
			}
		}
	})
}
