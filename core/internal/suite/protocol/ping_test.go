package protocol_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestPingsThatAreNeverAnswered has a peer live by what it sends, and answer no ping,
// neither the user's, which time out, nor those of the keep-alive: nothing grows.
func TestPingsThatAreNeverAnswered(t *testing.T) {
	const most = 256 << 10
	calls := uint32(0)
	call := func(p *lab.RawPeer) {
		calls++
		p.Send(p.Request(0, calls, "echo", nil))
		synctest.Wait()
		for ok := true; ok; {
			_, ok = p.Next()
		}
	}
	lab.RawTest(t, "of the user", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		call(p)
		before := lab.HeapInUse()
		const pings = 20_000
		for i := range pings {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := r.Conn().Ping(ctx)
			cancel()
			if err == nil {
				t.Fatal("a ping was answered")
			}
			if i%1000 == 0 {
				call(p)
			}
		}
		if grown := int64(lab.HeapInUse()) - int64(before); grown > most {
			t.Errorf("%d pings that have timed out hold %d bytes", pings, grown)
		}
	})
	lab.RawTest(t, "of the keep-alive", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		p := r.Connect()
		call(p)
		before := lab.HeapInUse()
		for began := time.Now(); time.Since(began) < 24*time.Hour; time.Sleep(8 * time.Second) {
			call(p)
		}
		if p.Ended() != nil {
			t.Fatalf("the session has ended: %v", p.Ended())
		}
		if grown := int64(lab.HeapInUse()) - int64(before); grown > most {
			t.Errorf("the pings of a day hold %d bytes", grown)
		}
	})
}
