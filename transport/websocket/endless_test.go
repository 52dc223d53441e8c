package websocket

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/internal/memnet"
)

// TestEndlessFragments expects a message of a million fragments to be refused
// after 1,024 of them, with code 1008, and no more of it to be looked at: the
// rest stays with the peer (T2).
func TestEndlessFragments(t *testing.T) {
	for _, size := range []int{0, 1} {
		for _, client := range []bool{false, true} {
			t.Run(fmt.Sprintf("of %d bytes client=%v", size, client), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, far := rawPair(t, client)
					encode := masked
					if client {
						encode = plain
					}
					f := encode(ws.NewFrame(ws.OpContinuation, false, make([]byte, size)))
					sent := 0
					flooded := make(chan struct{})
					go func() {
						defer close(flooded)
						far.Write(encode(ws.NewFrame(ws.OpBinary, false, nil)))
						for ; sent < 1_000_000; sent++ {
							if _, err := far.Write(f); err != nil {
								return
							}
						}
					}()
					_, err := c.ReadFrame(1 << 30)
					if v := asViolation(err); v == nil || v.code != ws.StatusPolicyViolation {
						t.Fatalf("ReadFrame: %v, want a violation with 1008", err)
					}
					synctest.Wait() // the flood is stuck
					c.CloseWithError(0, "")
					wantCloseFrame(t, far, ws.StatusPolicyViolation)
					<-flooded
					// Besides what lay in the link and in one read of it.
					if most := maxFragments + (memnet.DefaultBuffer+chunkSize)/len(f); sent > most {
						t.Errorf("%d fragments were taken, want at most %d", sent, most)
					}
				})
			})
		}
	}
}

// TestManyFragmentsAreHonest is the twin of the above: messages in as many
// fragments as allowed are taken, one behind the other.
func TestManyFragmentsAreHonest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPair(t, false)
		const messages = 50
		go func() {
			message := slices.Concat(fragment(ws.OpBinary, false, "x"), slices.Repeat(fragment(ws.OpContinuation, false, "x"), maxFragments-2),
				fragment(ws.OpContinuation, true, "x"))
			for range messages {
				far.Write(message)
			}
		}()
		for n := range messages {
			if p, err := c.ReadFrame(maxFragments); err != nil || len(p) != maxFragments {
				t.Fatalf("message %d: %d bytes, %v", n, len(p), err)
			}
		}
	})
}
