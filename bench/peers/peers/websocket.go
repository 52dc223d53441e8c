package peers

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/gridmux/gridmux/bench/peers/h"
)

// wsStream is a websocket connection as a stream of bytes: each Write is a binary message, and
// Read takes them one after the other. It has no multiplexer, as floor-tcp has none.
type wsStream struct {
	net.Conn
	r     *wsutil.Reader
	state ws.State
	left  bool // of a message that was begun
}

func newWSStream(c net.Conn, state ws.State) *wsStream {
	return &wsStream{Conn: c, state: state, r: wsutil.NewReader(c, state)}
}

func (s *wsStream) Read(p []byte) (int, error) {
	for {
		if !s.left {
			if _, err := s.r.NextFrame(); err != nil {
				return 0, err
			}
			s.left = true
		}
		n, err := s.r.Read(p)
		if errors.Is(err, io.EOF) {
			s.left, err = false, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *wsStream) Write(p []byte) (int, error) {
	return len(p), wsutil.WriteMessage(s.Conn, s.state, ws.OpBinary, p)
}

// openWebsocket is a bare websocket connection per worker, on net/http and gobwas/ws.
func openWebsocket(buffered bool) (*h.Peer, error) {
	l := listen()
	var mu sync.Mutex
	var all []net.Conn
	keep := func(c net.Conn) { mu.Lock(); all = append(all, c); mu.Unlock() }
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		keep(c)
		serveLP(newWSStream(c, ws.StateServerSide), buffered)
	})}
	go s.Serve(l)
	open := func() (io.ReadWriteCloser, error) {
		c, _, _, err := ws.Dial(context.Background(), "ws://"+l.Addr().String()+"/")
		if err != nil {
			return nil, err
		}
		keep(c)
		return newWSStream(c, ws.StateClientSide), nil
	}
	return lpPeer(open, false, func() {
		s.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range all {
			c.Close()
		}
	}), nil
}

func init() {
	h.Register(&h.Factory{Name: "ws", Note: "bare websocket, a CONNECTION per worker", Open: func(int) (*h.Peer, error) { return openWebsocket(false) }})
	h.Register(&h.Factory{Name: "ws-buf", Note: "bare websocket, a frame per 32 KiB of stream", Open: func(int) (*h.Peer, error) { return openWebsocket(true) }})
}
