package sessions_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestSlowPeersAreWaitedFor drains a node whose honest peer has, over a slow link, half of a
// large request to send and then as large an answer to take, or takes an answer while an
// idle lane is closed. What came of the request, or over that lane, used to count as
// something to be done again, and the call was lost when patience was over (F19).
func TestSlowPeersAreWaitedFor(t *testing.T) {
	const size = 15 << 20
	big := func(context.Context, []byte) ([]byte, error) { return make([]byte, size), nil }
	for _, l := range []*lab.Link{lab.InmemLink(), lab.LanesLink()} {
		for handler, req := range map[core.HandlerID][]byte{"echo": make([]byte, size), "big": nil} {
			lab.Bubble(t, l.Name+", "+string(handler), func(t *testing.T) {
				c := l.Cluster(t, 2, lab.Handle("big", big))
				lab.MustCall(t, c.Conn(0, 1), "echo", make([]byte, size)) // where there are lanes, over one that idles then
				c.Memory().SetConditions(inmem.Conditions{Bandwidth: 500_000})
				drainBesideCall(t, c, handler, req)
			})
		}
	}
}

// drainBesideCall drains node 0 while node 1 calls it: neither fails.
func drainBesideCall(t *testing.T, c *lab.Cluster, handler core.HandlerID, req []byte) {
	t.Helper()
	called := lab.GoCall(t.Context(), c.Conn(1, 0), handler, req)
	time.Sleep(time.Second)
	done := lab.Go(func() error { return c.Manager(0).Shutdown(t.Context()) })
	if r := <-called; r.Err != nil {
		t.Errorf("the call failed: %v", r.Err)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
}

// TestPeersWithoutMemoryAreWaitedFor takes a member out, and in again, whose answer of the
// session before waits for the memory that answers of the next one have, which come as fast
// as the link lets them. The peer seemed to do nothing about it (F19).
func TestPeersWithoutMemoryAreWaitedFor(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		answer := func(after time.Duration) core.HandlerFunc {
			return func(context.Context, []byte) ([]byte, error) {
				time.Sleep(after)
				return make([]byte, 15<<20), nil
			}
		}
		c := lab.InmemLink().Cluster(t, 2, lab.Handle("big", answer(0)), lab.Handle("late", answer(3*time.Second)),
			lab.Configure(func(cfg *core.Config) { cfg.MaxReassembly = 16 << 20 }))
		c.Memory().SetConditions(inmem.Conditions{Bandwidth: 500_000})
		calls := []<-chan lab.Reply{lab.GoCall(t.Context(), c.Conn(1, 0), "late", nil)}
		time.Sleep(100 * time.Millisecond)
		c.SetPeers(0)
		time.Sleep(100 * time.Millisecond)
		c.SetPeers(0, 1)
		for range 3 {
			calls = append(calls, lab.GoCall(t.Context(), c.Conn(1, 0), "big", nil, core.WaitForConnection()))
		}
		for i, call := range calls {
			if r := <-call; r.Err != nil {
				t.Errorf("call %d failed: %v", i, r.Err)
			}
		}
	})
}

// slowCodec takes longer than a drain is patient with peers.
type slowCodec struct{}

func (slowCodec) Name() string { return "slow" }

func (slowCodec) Append(dst, src []byte) []byte {
	time.Sleep(2 * debtPatience)
	return append(dst, src[:len(src)/2]...)
}

func (slowCodec) Decode(dst, _ []byte, limit int) ([]byte, error) {
	return append(dst, make([]byte, limit)...), nil
}

// TestSlowCodecIsNoDebt drains a node that takes its time to compress an answer: that used
// to count as one which the peer does not take, and was lost (F19).
func TestSlowCodecIsNoDebt(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2, lab.Handle("big", func(context.Context, []byte) ([]byte, error) {
			return make([]byte, 200<<10), nil
		}, core.WithCompression(slowCodec{})))
		drainBesideCall(t, c, "big", nil)
	})
}

// TestRefusalsAreNoProgress drains a node of whose refusals a peer reads one a second, and
// asks for the next, while it owes the rest of a request. That used to hold up Shutdown for
// ever (F19, T23).
func TestRefusalsAreNoProgress(t *testing.T) {
	lab.RawTest(t, "", lab.RawSetup{Buffer: 1}, func(t *testing.T, r *lab.RawCluster) {
		p := connectOwing(r, func(p *lab.RawPeer) { p.Send(p.RequestStart(0, 1, "echo", 1<<20, []byte("part"))) })
		p.Allow(0)
		began := time.Now()
		done := drainWithin(r, time.Hour)
		for slot := uint32(9); slot < 13; slot++ { // so that there are always some to be read
			synctest.Wait()
			p.Send(p.Request(slot, 1, "echo", []byte("refused")))
		}
		for i := uint32(1); time.Since(began) < 2*debtPatience; i++ {
			synctest.Wait()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("Shutdown returned %v", err)
				}
				return
			default:
			}
			p.Send(p.Request(i%8+1, i/8+1, "echo", []byte("refused")))
			synctest.Wait()
			p.Allow(1)
			time.Sleep(time.Second)
		}
		t.Errorf("Shutdown waits still after %v", time.Since(began))
		p.Conn.CloseWithError(0, "")
		<-done
	})
}
