package quic_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/quic"
)

// TestHooksThatPanic holds that a function of the user's which panics as a peer is
// dialled, or ends its goroutine, is a dial that fails and says which function it was,
// also where each of several addresses is tried.
func TestHooksThatPanic(t *testing.T) {
	here := netip.MustParseAddrPort("127.0.0.1:9")
	several := func(context.Context, string) ([]netip.AddrPort, error) { return []netip.AddrPort{here, here}, nil }
	for _, test := range []struct {
		opts  quic.Options
		phase string
		says  string
	}{
		{
			quic.Options{ServerName: func(transport.Peer) string { panic("no name") }, Resolve: several},
			transport.PhaseTLS, "Options.ServerName panicked: no name",
		},
		{
			quic.Options{ServerName: func(transport.Peer) string { runtime.Goexit(); return "" }},
			transport.PhaseTLS, "Options.ServerName did not return",
		},
		{
			quic.Options{Resolve: func(context.Context, string) ([]netip.AddrPort, error) { panic("no address") }},
			transport.PhaseDial, "Options.Resolve panicked: no address",
		},
	} {
		test.opts.TLS = devtls.Config("a")
		tr := quic.New(test.opts)
		_, err := tr.Dial(t.Context(), transport.Peer{Name: "a", Addr: "127.0.0.1:9"})
		if de, ok := errors.AsType[*transport.DialError](err); !ok || de.Phase != test.phase || !strings.Contains(err.Error(), test.says) {
			t.Errorf("got %v, want one of the phase %s that says %q", err, test.phase, test.says)
		}
	}
}

// TestHooksThatIgnoreTheirContext holds that Dial returns when its context ends, though
// a function of the user's does not.
func TestHooksThatIgnoreTheirContext(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	release := make(chan struct{})
	defer close(release)
	var cancel context.CancelFunc
	hang := func() {
		cancel()
		<-release
	}
	for phase, opts := range map[string]quic.Options{
		transport.PhaseTLS: {ServerName: func(transport.Peer) string { hang(); return "a" }},
		transport.PhaseDial: {Resolve: func(context.Context, string) ([]netip.AddrPort, error) {
			hang()
			return nil, nil
		}},
	} {
		var ctx context.Context
		ctx, cancel = context.WithCancel(t.Context())
		t.Cleanup(cancel)
		opts.TLS = devtls.Config("a")
		_, err := quic.New(opts).Dial(ctx, transport.Peer{Name: "a", Addr: silent.LocalAddr().String()})
		if de, ok := errors.AsType[*transport.DialError](err); !ok || de.Phase != phase || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want one of the phase %s for the end of the context", err, phase)
		}
	}
}
