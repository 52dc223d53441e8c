package websocket_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/websocket"
)

// TestHooksThatPanic holds that a function of the user's which panics as a peer is
// dialled, or ends its goroutine, is a dial that fails and says which function it was.
func TestHooksThatPanic(t *testing.T) {
	for _, test := range []struct {
		opts  websocket.Options
		phase string
		says  string
	}{
		{
			websocket.Options{TLS: devtls.Config("a"), ServerName: func(transport.Peer) string { panic("no name") }},
			transport.PhaseTLS, "Options.ServerName panicked: no name",
		},
		{
			websocket.Options{TLS: devtls.Config("a"), ServerName: func(transport.Peer) string { runtime.Goexit(); return "" }},
			transport.PhaseTLS, "Options.ServerName did not return",
		},
		{
			websocket.Options{DialContext: func(context.Context, string, string) (net.Conn, error) { panic("no dial") }},
			transport.PhaseDial, "Options.DialContext panicked: no dial",
		},
		{
			websocket.Options{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, nil }},
			transport.PhaseDial, "Options.DialContext returned no connection",
		},
	} {
		_, err := websocket.New(test.opts).Dial(t.Context(), peerA)
		wantDialError(t, err, test.phase, test.says)
	}
}

// TestHooksThatIgnoreTheirContext holds that Dial returns when its context ends, though
// a function of the user's does not, and that a connection which that returns later is
// closed.
func TestHooksThatIgnoreTheirContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	release := make(chan struct{})
	ours, theirs := net.Pipe()
	hang := func() {
		cancel()
		<-release
	}
	_, err := websocket.New(websocket.Options{DialContext: func(context.Context, string, string) (net.Conn, error) {
		hang()
		return ours, nil
	}}).Dial(ctx, peerA)
	wantDialError(t, err, transport.PhaseDial, context.Canceled.Error())
	close(release)
	if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("reading from whoever was dialled too late: %v, want an end", err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	t.Cleanup(cancel)
	release = make(chan struct{})
	defer close(release)
	_, err = websocket.New(websocket.Options{TLS: devtls.Config("a"), ServerName: func(transport.Peer) string {
		hang()
		return "a"
	}}).Dial(ctx, peerA)
	wantDialError(t, err, transport.PhaseTLS, context.Canceled.Error())
}
