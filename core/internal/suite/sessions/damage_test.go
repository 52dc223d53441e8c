package sessions_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// damaged are a few calls over a link without integrity of its own, which
// something happens to meanwhile.
type damaged struct {
	*lab.Cluster
	n    *inmem.Network
	book []*lab.StateBook
	all  []*census
}

func damage(t *testing.T) damaged {
	t.Helper()
	book, note := lab.Books(2)
	all, counted := takeCensus(2)
	c := lab.InmemLink(inmem.WithoutIntegrity()).Cluster(t, 2, note, counted)
	synctest.Wait()
	return damaged{c, c.Memory(), book, all}
}

// exchange makes one call, which may fail, and then others, which may not: the
// connection is either well or replaced.
func (d damaged) exchange(t *testing.T, what string) (err error) {
	t.Helper()
	err = d.Ledger.Call(t.Context(), d.Conn(0, 1), what, coretest.LedgerAppend, coretest.Job{Request: 60, Response: 60})
	if err != nil && !errors.Is(err, core.ErrDisconnected) {
		t.Errorf("%s: the call returned %v", what, err)
	}
	synctest.Wait()
	d.WaitConnected()
	d.n.HealAll()
	for i := range 2 {
		if err := d.Ledger.Call(t.Context(), d.Conn(i, 1-i), "afterwards", coretest.LedgerAppend, coretest.Job{Request: 5000, Response: 5000}); err != nil {
			t.Errorf("%s: a call afterwards returned %v", what, err)
		}
	}
	synctest.Wait()
	return err
}

// TestEveryBitFlips flips each bit of a call and of its answer in turn, about 200
// bytes with all headers. The checksum finds every one: the connection is ended
// as corrupt, nothing of the batch has an effect, and the next connection is well
// (F21).
func TestEveryBitFlips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := damage(t)
		step := lab.Scale(1, 7, 1)
		for from := range 2 {
			bits := 0
			for ; ; bits += step {
				before := [2]int{len(d.book[0].Of("")), len(d.book[1].Of(""))}
				d.n.CorruptNext(d.Node(from).Name, d.Node(1-from).Name, bits)
				what := fmt.Sprintf("bit %d of what node %d says", bits, from)
				err := d.exchange(t, what)
				if err == nil {
					break // the exchange is shorter than that
				}
				sender, receiver := d.book[from].Of("")[before[from]:], d.book[1-from].Of("")[before[1-from]:]
				if len(sender) != 2 || len(receiver) != 2 {
					t.Fatalf("%s: changes of state %v and %v, want that the connection ended and another began", what, sender, receiver)
				}
				if why := receiver[0].Err; why == nil || !strings.Contains(why.Error(), "checksum") {
					t.Fatalf("%s: node %d ended the connection because of %v, want the checksum", what, 1-from, why)
				}
				if closed, ok := errors.AsType[*transport.CloseError](sender[0].Err); !ok || closed.Code != 34 {
					t.Fatalf("%s: node %d was told %v, want code 34", what, from, sender[0].Err)
				}
				time.Sleep(11 * time.Second)
			}
			if bits < 8*80 {
				t.Errorf("only %d bits of node %d were flipped", bits, from)
			}
		}
		wantOneSession(t, d.Cluster, d.all, "in the end")
		d.CheckLedger()
	})
}

// TestCutAtEveryByte breaks the connection at each byte of a call and of its
// answer in turn. What is cut off is not delivered, the caller learns of the loss,
// and the next connection is well (F22).
func TestCutAtEveryByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := damage(t)
		for from := range 2 {
			n := 0
			for ; ; n++ {
				d.n.CutAfter(d.Node(from).Name, d.Node(1-from).Name, n)
				what := fmt.Sprintf("a cut at byte %d of what node %d says", n, from)
				err := d.exchange(t, what)
				if err == nil {
					break // the exchange is shorter than that
				}
				if core.OutcomeOf(err) != core.OutcomeMaybeRun && core.OutcomeOf(err) != core.OutcomeNotSent {
					t.Fatalf("%s: the call returned outcome %q of %v", what, core.OutcomeOf(err), err)
				}
				time.Sleep(11 * time.Second)
			}
			if n < 80 {
				t.Errorf("only %d bytes of node %d were cut at", n, from)
			}
		}
		wantOneSession(t, d.Cluster, d.all, "in the end")
		d.CheckLedger()
	})
}

// TestBlackHoleAtEveryByteOfTheHandshake stops a connection at one byte of the
// handshake after another, in either direction. Each attempt ends within its
// time, leaves no connection open, and the next one succeeds (F3).
func TestBlackHoleAtEveryByteOfTheHandshake(t *testing.T) {
	for from := range 2 {
		for at := 0; at < 450; at += lab.Scale(7, 50, 1) {
			synctest.Test(t, func(t *testing.T) {
				all, counted := takeCensus(2)
				c := lab.InmemLink().Cluster(t, 2, counted, coretest.Unstarted(), lab.Configure(func(cfg *core.Config) { cfg.ConnectTimeout = 2 * time.Second }))
				n := c.Memory()
				n.StallAfter(c.Node(from).Name, c.Node(1-from).Name, at)
				began := time.Now()
				c.Start(0)
				c.Start(1)
				c.WaitConnected()
				// It may have been all of the handshake that got through, and
				// then it takes the keep-alive to notice.
				if d := time.Since(began); d > 20*time.Second {
					t.Errorf("stopped at byte %d of node %d: it took %v to connect", at, from, d)
				}
				n.HealAll() // if it is still to come, it is not to
				time.Sleep(30 * time.Second)
				wantOneSession(t, c, all, fmt.Sprintf("stopped at byte %d of node %d", at, from))
				c.CheckLedger()
			})
		}
	}
}
