package peers

import (
	"context"
	"io"
	"net"

	"github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/bench/peers/h"
)

func qcfg() *quic.Config { return &quic.Config{MaxIncomingStreams: 1 << 16} }

func quicServe(l *quic.Listener, buffered bool) {
	for {
		c, err := l.Accept(context.Background())
		if err != nil {
			return
		}
		go func() {
			for {
				s, err := c.AcceptStream(context.Background())
				if err != nil {
					return
				}
				go func() { serveLP(s, buffered); s.Close() }()
			}
		}()
	}
}

type qstream struct{ *quic.Stream }

func (q qstream) Close() error {
	err := q.Stream.Close()
	q.Stream.CancelRead(0)
	return err
}

// qcall half-closes after the request so the stream ends cleanly on both sides.
type qcall struct{ *quic.Stream }

func openQUIC(perCall, buffered bool) (*h.Peer, error) {
	st, ct := tlsConf()
	l, err := quic.ListenAddr("127.0.0.1:0", st, qcfg())
	if err != nil {
		return nil, err
	}
	go quicServe(l, buffered)
	c, err := quic.DialAddr(context.Background(), l.Addr().String(), ct, qcfg())
	if err != nil {
		return nil, err
	}
	return lpPeer(func() (io.ReadWriteCloser, error) {
		s, err := c.OpenStreamSync(context.Background())
		if err != nil {
			return nil, err
		}
		return qstream{s}, nil
	}, perCall, func() { c.CloseWithError(0, ""); l.Close() }), nil
}

func idleQUIC(n int) (func(), error) {
	st, ct := tlsConf()
	l, err := quic.ListenAddr("127.0.0.1:0", st, qcfg())
	if err != nil {
		return nil, err
	}
	go quicServe(l, false)
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	tr := &quic.Transport{Conn: pc} // all clients share one socket
	return func() { keepAll(tr) }, parallelDo(n, func(int) error {
		c, err := tr.Dial(context.Background(), l.Addr(), ct, qcfg())
		if err != nil {
			return err
		}
		keepAll(c)
		s, err := c.OpenStream()
		if err != nil {
			return err
		}
		_, err = (&lpClient{s: s}).echo([]byte("x"))
		s.Close()
		s.CancelRead(0)
		return err
	})
}

func init() {
	h.Register(&h.Factory{Name: "quic", Note: "TLS 1.3, persistent stream per worker", Open: func(int) (*h.Peer, error) { return openQUIC(false, false) }, Idle: idleQUIC})
	h.Register(&h.Factory{Name: "quic-call", Note: "TLS 1.3, stream per call", Open: func(int) (*h.Peer, error) { return openQUIC(true, false) }})
	h.Register(&h.Factory{Name: "quic-buf", Note: "TLS 1.3, bufio", Open: func(int) (*h.Peer, error) { return openQUIC(false, true) }})
}
