package suite_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// produce returns a response of the size that the request asks for.
func produce(_ context.Context, req []byte) ([]byte, error) {
	return lab.Pattern(len(req), int(binary.LittleEndian.Uint32(req))), nil
}

func sizeRequest(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

func TestSizes(t *testing.T) {
	const maxMessage = 2<<20 + 17
	sizes := []int{
		0, 1, 2, 15, 16, 17, 511, 512, 513, 4095, 4096, 16<<10 - 40, 16 << 10, lab.PartSize - 33, lab.PartSize - 32, lab.PartSize - 16,
		lab.PartSize - 1, lab.PartSize, lab.PartSize + 1, 2*lab.PartSize - 1, 2 * lab.PartSize, 2*lab.PartSize + 1, 60 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1,
		128 << 10, 128<<10 + 1, 1<<20 - 1, 1 << 20, maxMessage - 1, maxMessage,
	}
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, lab.Handle("produce", produce), lab.Configure(func(cfg *core.Config) { cfg.MaxMessage = maxMessage }))
		for _, to := range []int{1, 0} {
			conn := c.Conn(0, to)
			for i, size := range sizes {
				req := lab.Pattern(i, size)
				for _, h := range []core.HandlerID{"echo", "echo.append", "echo.inline"} {
					resp, err := conn.Request(t.Context(), h, req)
					if err != nil || !bytes.Equal(resp, req) {
						t.Errorf("%s of %d bytes returned %d bytes, error %v, want them unchanged", h, size, len(resp), err)
					}
				}
				// Small there, large back, behind what is in dst.
				dst := make([]byte, 10, 10+size/2)
				resp, err := conn.AppendRequest(t.Context(), "produce", sizeRequest(size), dst)
				if err != nil || !bytes.Equal(resp[10:], lab.Pattern(4, size)) {
					t.Errorf("a response of %d bytes arrived with %d bytes, error %v", size, len(resp)-10, err)
				}
			}
		}
	})
}

// TestMessageTooLarge holds both directions to Config.MaxMessage, with the
// limit on either side, and that the connection survives (T1, F23).
func TestMessageTooLarge(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const small, large = 100_000, 200_000
		for _, limits := range [][2]int{{small, small}, {small, large}, {large, small}} {
			c := l.Cluster(t, 2, lab.Handle("produce", produce), coretest.WithConfig(func(i int, cfg *core.Config) { cfg.MaxMessage = limits[i] }))
			conn := c.Conn(0, 1)
			session := lab.MustCall(t, conn, "echo", []byte("x"))
			what := fmt.Sprintf("limits of %d and %d", limits[0], limits[1])
			for _, size := range []int{small + 1, 10 * small} {
				resp, err := conn.AppendRequest(t.Context(), "echo", make([]byte, size), []byte("dst"))
				lab.WantFailure(t, what+": a request that is too large", err, core.ErrMessageTooLarge, core.OutcomeNotSent)
				lab.WantText(t, what+": a request that is too large", err, fmt.Sprint(size), fmt.Sprint(small), "MaxMessage")
				if string(resp) != "dst" {
					t.Errorf("%s: after a failure dst is %q, want it as it was", what, resp)
				}
				_, err = conn.Request(t.Context(), "produce", sizeRequest(size))
				lab.WantFailure(t, what+": a response that is too large", err, core.ErrMessageTooLarge, core.OutcomeRemote)
				lab.WantText(t, what+": a response that is too large", err, fmt.Sprint(size), fmt.Sprint(small), "MaxMessage")
			}
			if resp := lab.MustCall(t, conn, "echo", make([]byte, small)); len(resp) != small {
				t.Errorf("%s: a message of the permitted size came back with %d bytes", what, len(resp))
			}
			_ = session
		}
	})
}

// TestLargeMessagesInterleave sends many large messages at once, both ways,
// beside small ones.
func TestLargeMessagesInterleave(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2)
		n := lab.Scale(14, 6, 14) // more would not fit into the default MaxReassembly
		var wg sync.WaitGroup
		for i := range n {
			for from := range 2 {
				wg.Go(func() {
					conn := c.Conn(from, 1-from)
					big := lab.Pattern(i, 100_000+i*37_777)
					resp, err := conn.Request(t.Context(), "echo", big)
					if err != nil || !bytes.Equal(resp, big) {
						t.Errorf("large message %d from node %d came back with %d bytes, error %v", i, from, len(resp), err)
					}
				})
				wg.Go(func() {
					job := coretest.Job{Request: 700_000 - i*3000, Response: 100 + i*50_000}
					for range 3 {
						if err := c.Ledger.Call(t.Context(), c.Conn(from, 1-from), c.Node(from).Name, coretest.LedgerAppend, job); err != nil {
							t.Errorf("a large call of the ledger failed: %v", err)
						}
					}
				})
				wg.Go(func() {
					for range 50 {
						if err := c.Ledger.Call(t.Context(), c.Conn(from, 1-from), c.Node(from).Name, coretest.LedgerInline, coretest.Job{Request: 300}); err != nil {
							t.Errorf("a small call beside large ones failed: %v", err)
						}
					}
				})
			}
		}
		wg.Wait()
		c.CheckLedger()
	})
}

// TestReassemblyCap holds that large messages over Config.MaxReassembly are
// refused, and that the room comes back (T2).
func TestReassemblyCap(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 10)
		const size = 400_000
		c := l.Cluster(t, 2, lab.Handle("hold", g.Handle), lab.Handle("produce", produce), lab.Configure(func(cfg *core.Config) {
			cfg.MaxMessage, cfg.MaxReassembly = size, 2*size
		}))
		conn := c.Conn(0, 1)
		for round := range 3 {
			first := lab.GoCall(t.Context(), conn, "hold", lab.Pattern(1, size))
			second := lab.GoCall(t.Context(), conn, "hold", lab.Pattern(2, size))
			lab.Wait(t, g.Began, "the first large request reaches its handler")
			lab.Wait(t, g.Began, "the second large request reaches its handler")
			if round == 0 || l.Bubble {
				// It waits for room first, in real time over sockets.
				_, err := conn.Request(t.Context(), "hold", lab.Pattern(3, lab.PartSize+1))
				lab.WantFailure(t, "a large request over the cap", err, core.ErrOverloaded, core.OutcomeRefused)
				lab.WantText(t, "a large request over the cap", err, "MaxReassembly")
			}
			if resp := lab.MustCall(t, conn, "echo", make([]byte, lab.PartSize)); len(resp) != lab.PartSize {
				t.Error("a small request beside a full cap failed")
			}
			g.Open <- struct{}{}
			g.Open <- struct{}{}
			for i, called := range []<-chan lab.Reply{first, second} {
				if r := lab.Wait(t, called, "a large request is answered"); r.Err != nil || !bytes.Equal(r.Resp, lab.Pattern(i+1, size)) {
					t.Errorf("round %d: large request %d returned %d bytes, %v", round, i, len(r.Resp), r.Err)
				}
			}
		}
		// A response over the cap ends its call alone.
		for range 10 {
			if resp := lab.MustCall(t, conn, "produce", sizeRequest(size)); len(resp) != size {
				t.Fatalf("a large response arrived with %d bytes", len(resp))
			}
		}
	})
}

// TestManyLargeResponses asks for more at once than the caller's cap takes: the
// calls in excess fail for themselves, the others get what they asked for.
func TestManyLargeResponses(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		const size = 300_000
		c := l.Cluster(t, 2, lab.Handle("produce", produce), lab.Configure(func(cfg *core.Config) {
			cfg.MaxMessage, cfg.MaxReassembly = size, 3*size
		}))
		var wg sync.WaitGroup
		var mu sync.Mutex
		ok := 0
		for range 20 {
			wg.Go(func() {
				resp, err := c.Conn(0, 1).Request(t.Context(), "produce", sizeRequest(size))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && bytes.Equal(resp, lab.Pattern(4, size)):
					ok++
				case err == nil:
					t.Errorf("a response arrived with %d bytes or changed", len(resp))
				case !errors.Is(err, core.ErrOverloaded) || core.OutcomeOf(err) == core.OutcomeNotSent || core.OutcomeOf(err) == core.OutcomeRefused:
					t.Errorf("a response over the cap gives %v, want ErrOverloaded of a handler that may have run", err)
				}
			})
		}
		wg.Wait()
		if ok < 3 {
			t.Errorf("%d of 20 calls got their response, want at least those that the cap takes", ok)
		}
		if resp := lab.MustCall(t, c.Conn(0, 1), "produce", sizeRequest(size)); len(resp) != size {
			t.Error("the room for large responses has not come back")
		}
	})
}
