package lab_test

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// These are the tests that the documentation of the package shows.

func TestMain(m *testing.M) { os.Exit(lab.Run(m)) }

func TestCutLink(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, lab.Handle("block", g.Handle)) // connected, with echoes
		blocked := lab.GoCall(t.Context(), c.Conn(0, 1), "block", []byte("x"))
		lab.Wait(t, g.Began, "the handler begins")
		c.Cut(0, 1)
		got := lab.Wait(t, blocked, "the call returns")
		lab.WantFailure(t, "a cut link", got.Err, core.ErrDisconnected, core.OutcomeMaybeRun)
		g.Release()
		c.CheckLedger()
	})
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2)
		c.Memory().SetLatency(time.Second)
		began := time.Now()
		lab.MustCall(t, c.Conn(0, 1), "echo", nil)
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("a call took %v, want one round trip", d)
		}
	})
}

func TestProtocolUnknownType(t *testing.T) {
	lab.RawTest(t, "W12", lab.RawSetup{}, func(_ *testing.T, r *lab.RawCluster) {
		p := r.Connect() // dials, and shakes hands
		unknown := func(typ wire.Type) []byte { return lab.RawFrame(wire.Frame{Type: typ, Body: []byte("?")}) }
		p.Send(unknown(0x80), p.Request(0, 1, "echo", []byte("x")))
		p.Want(wire.TypeResponse, "W12: a type that may be ignored, and then a call")
		p.WantIdle("W12: there is no answer to what is ignored")
		p.Send(unknown(0x7f))
		p.WantClosed(wire.CodeProtocol, "W12: a type that nobody knows")
		r.Alive("after an error")
		r.Reconnect().WantLife(0, "the peer is back")
	})
}
