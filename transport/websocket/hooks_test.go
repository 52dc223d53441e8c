package websocket_test

import (
	"context"
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
