package streams_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// lastStream returns what the node says of the last stream with a peer.
func lastStream(t *testing.T, m *core.Manager, peer string) (core.PeerStats, core.StreamStats) {
	t.Helper()
	for _, ps := range m.Stats().Peers {
		if ps.Peer == peer {
			if len(ps.Streams) == 0 {
				t.Fatalf("no stream with %s", peer)
			}
			return ps, ps.Streams[len(ps.Streams)-1]
		}
	}
	t.Fatalf("nothing is known of %s", peer)
	return core.PeerStats{}, core.StreamStats{}
}

// TestStatsOfAStalledStream has a stream wait for each of the things that it can
// wait for. Stats says on both sides for whom, since when and in which direction.
func TestStatsOfAStalledStream(t *testing.T) {
	const message = 1 << 20
	for _, test := range []struct {
		name   string
		size   int
		adjust func(cfg *core.Config)
		before int // streams that hold a message of that size already
		want   core.WaitReason
	}{
		{"credit", 1000, func(*core.Config) {}, 0, core.WaitCredit},
		{"memory", message, func(cfg *core.Config) { cfg.MaxMessage, cfg.MaxReassembly = message, message }, 1, core.WaitMemory},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				stalled := func(_ context.Context, _ []byte, s *core.RawStream) error {
					<-release
					_, err := s.Recv(nil)
					for err == nil {
						_, err = s.Recv(nil)
					}
					return nil
				}
				c := lab.InmemLink().Cluster(t, 2, lab.Configure(test.adjust), coretest.WithHandlers(func(_ int, m *core.Manager) error {
					return m.HandleStreamFunc("stalled", stalled, core.WithRoute("here"), core.WithCapacity(3, 1))
				}))
				open := func() *core.RawStream {
					st, err := c.Conn(0, 1).Route("here").OpenStream(t.Context(), "stalled", nil)
					if err != nil {
						t.Fatal(err)
					}
					return st
				}
				for range test.before {
					if err := open().Send(make([]byte, test.size)); err != nil {
						t.Fatal(err)
					}
				}
				st := open()
				done := make(chan error, 1)
				var last time.Time
				go func() {
					var err error
					for range 4 {
						last = time.Now()
						err = st.Send(make([]byte, test.size))
					}
					done <- err
				}()
				time.Sleep(time.Minute)
				synctest.Wait()
				ps, got := lastStream(t, c.Manager(0), "node-1")
				if got.Handler != "stalled" || got.Route != "here" || got.Serving || got.Sending.For != test.want || !got.Sending.Since.Equal(last) {
					t.Errorf("the calling side says %+v, want a Send that waits for %v since %v", got, test.want, last)
				}
				if ps.Windows == 0 || ps.State != core.StateConnected {
					t.Errorf("the calling side has windows of %d bytes in state %v", ps.Windows, ps.State)
				}
				ps, got = lastStream(t, c.Manager(1), "node-0")
				if !got.Serving || got.Receiving.For != core.WaitNone || ps.Handlers != 1+test.before {
					t.Errorf("the serving side says %+v, with %d handlers", got, ps.Handlers)
				}
				if test.want == core.WaitMemory && (ps.Held != message || ps.Waiting != 1) {
					t.Errorf("the serving side holds %d bytes and %d messages wait, want %d and 1", ps.Held, ps.Waiting, message)
				}
				began := time.Now()
				close(release)
				if err := lab.Wait(t, done, "everything is sent"); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if _, got = lastStream(t, c.Manager(1), "node-0"); got.Receiving.For != core.WaitMessage || got.Receiving.Since.Before(began) {
					t.Errorf("the serving side says %+v, want a Recv that waits for a message since %v", got, began)
				}
				_ = st.CloseSend()
				if _, err := st.Recv(nil); err == nil {
					t.Error("a handler that sends nothing sent something")
				}
			})
		})
	}
}
