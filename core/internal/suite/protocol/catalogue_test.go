package protocol_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestHandles asks over every link which handlers a peer has: with and without a
// route, those that were forgotten, and after a restart with others (D20).
func TestHandles(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		extra := false
		c := l.Cluster(t, 2, lab.Impatient(), coretest.WithHandlers(func(i int, m *core.Manager) error {
			if i == 0 {
				return m.Handle("zero", lab.Echo)
			}
			err := errors.Join(m.Handle("stat", lab.Echo), m.Handle("stat", lab.Echo, core.WithRoute("disk1")), m.HandleAppend("append", lab.EchoAppend, core.WithInline()))
			if extra {
				err = errors.Join(err, m.Handle("extra", lab.Echo))
			}
			return err
		}))
		handles := func(when string, want map[string]bool) {
			t.Helper()
			for name, want := range want {
				id, route, routed := strings.Cut(name, "@")
				asks := c.Conn(0, 1).Handles
				if routed {
					asks = c.Conn(0, 1).Route(route).Handles
				}
				got, err := asks(t.Context(), core.HandlerID(id), core.WaitForConnection())
				if err != nil || got != want {
					t.Errorf("%s: the peer handles %s: %v, %v; want %v", when, name, got, err, want)
				}
			}
		}
		want := map[string]bool{
			"stat": true, "stat@disk1": true, "append": true, "echo": true, "stat@": true,
			"stat@disk2": false, "append@disk1": false, "zero": false, "forgotten": false, "extra": false, "": false,
			"gridmux.catalogue": false,
		}
		handles("at first", want)
		if got, err := c.Conn(0, 0).Handles(t.Context(), "zero"); err != nil || !got {
			t.Errorf("the node itself handles what it has: %v, %v", got, err)
		}
		extra = true
		c.Restart(1)
		c.WaitConnected()
		want["extra"] = true
		handles("after a restart with one more", want)
		c.Stop(1)
		if _, err := c.Manager(0).Connection("stranger").Handles(t.Context(), "stat"); !errors.Is(err, core.ErrUnknownPeer) {
			t.Errorf("asking about an unknown peer returned %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		lab.Until(t, "the peer is gone", func() bool { return c.Conn(0, 1).State() != core.StateConnected })
		if _, err := c.Conn(0, 1).Handles(ctx, "stat", core.WaitForConnection()); err == nil {
			t.Error("asking a peer that is gone succeeded")
		}
	})
}

// TestReservedHandlers holds that no user takes an id of the library (W54).
func TestReservedHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coretest.NewCluster(t, 1, coretest.Unstarted())
		for _, id := range []core.HandlerID{"gridmux.", "gridmux.catalogue", "gridmux.mine", "gridmux.a.b"} {
			err := errors.Join(c.Manager(0).Handle(id, lab.Echo), c.Manager(0).HandleAppend(id, lab.EchoAppend, core.WithRoute("x")))
			lab.WantText(t, string(id), err, "gridmux.", string(id))
		}
		for _, id := range []core.HandlerID{"gridmux", "Gridmux.x", "gridmuxed", " gridmux.x"} {
			if err := c.Manager(0).Handle(id, lab.Echo); err != nil {
				t.Errorf("the id %q is refused: %v", id, err)
			}
		}
	})
}

// TestCatalogueIsAskedForOnce holds a node to asking a peer for its catalogue
// once for each digest, by itself, to what W54 says about the answer, and to
// believing no malformed one (D20).
func TestCatalogueIsAskedForOnce(t *testing.T) {
	entries := func(hashes ...uint64) (b []byte) {
		for _, h := range hashes {
			b = append(binary.LittleEndian.AppendUint64(b, h), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		}
		return b
	}
	lab.RawTest(t, "W54", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		ask := func(h core.HandlerID) <-chan lab.Reply {
			return lab.Go(func() lab.Reply {
				has, err := r.Conn().Handles(t.Context(), h)
				if has {
					return lab.Reply{Resp: []byte("has"), Err: err}
				}
				return lab.Reply{Err: err}
			})
		}
		own := entries(lab.HandlerHash("stat"), lab.HandlerHash("put"))
		for range 2 {
			p := r.Connect(func(h *wire.Hello) { h.Catalogue = sha256.Sum256(own) })
			f := p.Want(wire.TypeRequest, "W54: the catalogue is asked for")
			if req, err := wire.ParseRequest(&f); err != nil || req.Handler != lab.HandlerHash("gridmux.catalogue") {
				t.Errorf("W54: another handler was called: %v", err)
			}
			p.Send(wire.AppendResponse(nil, f.ID, own))
			synctest.Wait()
			for name, want := range map[core.HandlerID]string{"put": "has", "stat": "has", "get": ""} {
				if got := lab.Wait(t, ask(name), "a further question is answered"); string(got.Resp) != want || got.Err != nil {
					t.Errorf("%s: %q, %v", name, got.Resp, got.Err)
				}
			}
			p.WantIdle("W54: nothing more is asked")
			p.Conn.CloseWithError(0, "")
			synctest.Wait()
			p = r.Connect(func(h *wire.Hello) { h.Catalogue = sha256.Sum256(own) })
			if got := lab.Wait(t, ask("put"), "the same catalogue in another session"); string(got.Resp) != "has" || got.Err != nil {
				t.Errorf("the same catalogue in another session: %q, %v", got.Resp, got.Err)
			}
			p.WantIdle("W54: the digest is the same")
			p.Conn.CloseWithError(0, "")
			synctest.Wait()
			own = entries(lab.HandlerHash("put"), lab.HandlerHash("stat"))
		}
		p := r.Connect() // with a digest of zeros, which says nothing
		p.WantIdle("W54: there is no digest")
		p.Conn.CloseWithError(0, "")
		synctest.Wait()
		p = r.Connect(func(h *wire.Hello) { h.Catalogue[0] = 1 })
		f := p.Want(wire.TypeRequest, "W54: the catalogue is asked for")
		p.Send(wire.AppendResponse(nil, f.ID, make([]byte, 10)))
		p.WantIdle("W54: a malformed catalogue, which nobody waits for")
		broken := ask("stat")
		f = p.Want(wire.TypeRequest, "W54: the catalogue is asked for again")
		p.Send(wire.AppendResponse(nil, f.ID, make([]byte, 10)))
		if got := lab.Wait(t, broken, "a malformed catalogue"); got.Err == nil {
			t.Error("a malformed catalogue is believed")
		}
		p.WantLife(0, "a malformed catalogue")
	})
}

// TestCatalogueOverMaxMessage opens a stream to a node whose catalogue is larger than
// any message may be, in one frame and in parts for which Config.MaxReassembly has no
// room either (W29, W54).
func TestCatalogueOverMaxMessage(t *testing.T) {
	const limit = 4 << 10
	for name, handlers := range map[string]int{"one frame": 300, "parts": 3000} {
		lab.Bubble(t, name, func(t *testing.T) {
			small := lab.Configure(func(cfg *core.Config) { cfg.MaxMessage, cfg.MaxReassembly = limit, limit })
			c := lab.InmemLink().Cluster(t, 2, small, coretest.WithHandlers(func(i int, m *core.Manager) error {
				err := m.HandleStreamFunc("stream", lab.EchoStream)
				for n := range i * handlers {
					err = errors.Join(err, m.Handle(core.HandlerID(fmt.Sprint("handler-", n)), lab.Echo))
				}
				return err
			}))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			st, err := c.Conn(0, 1).OpenStream(ctx, "stream", []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			st.Close()
			if has, err := c.Conn(1, 1).Handles(ctx, "handler-1"); err != nil || !has {
				t.Errorf("the node itself handles what it has: %v, %v", has, err)
			}
			if _, err := c.Conn(0, 1).Request(ctx, "echo", make([]byte, limit+1)); !errors.Is(err, core.ErrMessageTooLarge) {
				t.Errorf("a message over the limit: %v", err)
			}
		})
	}
}
