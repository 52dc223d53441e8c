package quic_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/quic"
)

// Bytes of the wire, spelled out.
var (
	begin = []byte{0xfe, 0xff, 0xff, 0xff}
	hello = []byte{5, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'}
	bye7  = []byte{0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0, 3, 'b', 'y', 'e'}
)

// acceptBare connects a peer made of quic-go alone, which has sent first on its
// first stream, to a listener.
func (l *lab) acceptBare(first []byte) (s transport.Conn, qc *quicgo.Conn, stream *quicgo.Stream) {
	l.Helper()
	ln := listen(l.T, l.transport(serverAddr, quic.Options{TLS: l.pki.node(l.T, "server")}), "")
	qc, err := l.bareDial(clientAddr, serverAddr, quic.Protocol)
	if err != nil {
		l.Fatal(err)
	}
	if stream, err = qc.OpenStream(); err != nil {
		l.Fatal(err)
	}
	stream.Write(first)
	return accept(l.T, ln), qc, stream
}

// TestWire holds what is on the streams, byte by byte: W5 and W6.
func TestWire(t *testing.T) {
	inLab(t, func(l *lab) {
		// W5: BEGIN both ways, then lengths and frames, however they are cut up.
		s, qc, stream := l.acceptBare(append(bytes.Clone(begin), hello[:6]...))
		want := func(s io.Reader, want []byte) {
			l.Helper()
			got := make([]byte, len(want))
			if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want) {
				l.Fatalf("% x, %v; want % x", got, err, want)
			}
		}
		want(stream, begin)
		stream.Write(hello[6:])
		stream.Write([]byte{0, 0, 0, 0})
		for _, frame := range []string{"hello", ""} {
			if p, err := s.ReadFrame(5); err != nil || string(p) != frame {
				l.Fatalf("%q, %v", p, err)
			}
		}
		if err := send(s, "hello"); err != nil {
			l.Fatal(err)
		}
		want(stream, hello)

		// W5: further streams are lanes, without BEGIN.
		second, err := qc.OpenStream()
		if err != nil {
			l.Fatal(err)
		}
		second.Write(append(bytes.Clone(hello), bye7...))
		lane, err := s.(transport.LaneConn).AcceptLane(l.Context())
		if err != nil {
			l.Fatal(err)
		}
		if p, err := lane.ReadFrame(5); err != nil || string(p) != "hello" {
			l.Fatalf("%q, %v", p, err)
		}
		// W6: CLOSE ends the lane, and nothing else.
		wantClose(l.T, lane, 7, "bye")
		send(lane, "hello")
		lane.CloseWithError(7, "bye")
		want(second, hello)
		want(second, bye7)
		if _, err := second.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			l.Errorf("behind CLOSE: %v", err)
		}

		// W6: CLOSE on the first lane, and STOP_SENDING with its code.
		send(s, "hello")
		s.CloseWithError(7, "bye")
		want(stream, hello)
		want(stream, bye7)
		<-stream.Context().Done()
		if se, ok := errors.AsType[*quicgo.StreamError](context.Cause(stream.Context())); !ok || se.ErrorCode != 7 {
			l.Errorf("the first stream was stopped with %v", context.Cause(stream.Context()))
		}
		// W6: who is not heard of for three seconds is cut off, with code and reason.
		<-qc.Context().Done()
		if ae, ok := errors.AsType[*quicgo.ApplicationError](context.Cause(qc.Context())); !ok || ae.ErrorCode != 7 || ae.ErrorMessage != "bye" {
			l.Errorf("the connection ended with %v", context.Cause(qc.Context()))
		}
	})
	// W6: a node that reads CLOSE on the first lane closes the QUIC connection.
	inLab(t, func(l *lab) {
		s, qc, stream := l.acceptBare(begin)
		stream.Write(append(bytes.Clone(hello), bye7...))
		if p, err := s.ReadFrame(5); err != nil || string(p) != "hello" {
			l.Fatalf("%q, %v", p, err)
		}
		wantClose(l.T, s, 7, "bye")
		<-qc.Context().Done()
		if _, ok := errors.AsType[*quicgo.ApplicationError](context.Cause(qc.Context())); !ok {
			l.Errorf("the connection ended with %v", context.Cause(qc.Context()))
		}
		if err := send(s, "more"); err == nil || errors.Is(err, net.ErrClosed) {
			l.Errorf("a write after the peer's close: %v", err)
		}
	})
}

// wantClose reads the end of a connection.
func wantClose(t *testing.T, c transport.Conn, code uint32, reason string) {
	t.Helper()
	_, err := c.ReadFrame(1000)
	if ce, ok := errors.AsType[*transport.CloseError](err); !ok || ce.Code != code || ce.Reason != reason {
		t.Errorf("ReadFrame: %v; want the close with %d %q", err, code, reason)
	}
}

// TestBreaches expects whatever W5 and W6 do not allow to end the connection, or
// the lane, and the peer to be told.
func TestBreaches(t *testing.T) {
	for _, test := range []struct {
		name string
		sent []byte
		code uint32
	}{
		{"a second BEGIN", begin, transport.CodeProtocol},
		{"a reserved length", []byte{0, 0, 0, 0xff}, transport.CodeTooLarge},
		{"a length over the limit", []byte{101, 0, 0, 0}, transport.CodeTooLarge},
		{"a reason that is too long", append([]byte{0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0, 121}, make([]byte, 121)...), transport.CodeProtocol},
		{"a reason that is not UTF-8", []byte{0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0, 1, 0xff}, transport.CodeProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				s, qc, stream := l.acceptBare(append(bytes.Clone(begin), test.sent...))
				_, err := s.ReadFrame(100)
				if _, ok := errors.AsType[*transport.CloseError](err); err == nil || ok {
					l.Fatalf("ReadFrame: %v", err)
				}
				if errors.Is(err, transport.ErrFrameTooLarge) != (test.code == transport.CodeTooLarge) {
					l.Errorf("ErrFrameTooLarge: %v", err)
				}
				s.CloseWithError(5, "something else")
				io.ReadFull(stream, make([]byte, len(begin)))
				var head [9]byte
				io.ReadFull(stream, head[:])
				if code := uint32(head[4]) | uint32(head[5])<<8; head[0] != 0xff || code != test.code {
					l.Errorf("the peer was told % x, want code %d", head, test.code)
				}
				qc.CloseWithError(0, "")
			})
		})
	}
}

// TestEndsWithoutClose expects streams that end in other ways than by W6 to be no
// orderly end, and never a part of a frame.
func TestEndsWithoutClose(t *testing.T) {
	for name, end := range map[string]func(qc *quicgo.Conn, s *quicgo.Stream){
		"end of stream": func(_ *quicgo.Conn, s *quicgo.Stream) { s.Close() },
		"reset":         func(_ *quicgo.Conn, s *quicgo.Stream) { s.CancelWrite(7) },
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				s, qc, stream := l.acceptBare(begin)
				stream.Write(hello[:7])
				l.settle()
				end(qc, stream)
				p, err := s.ReadFrame(100)
				if _, ok := errors.AsType[*transport.CloseError](err); err == nil || ok || errors.Is(err, net.ErrClosed) || err == io.EOF {
					l.Errorf("%q, %v", p, err)
				}
				qc.CloseWithError(0, "")
			})
		})
	}
	inLab(t, func(l *lab) {
		s, qc, _ := l.acceptBare(begin)
		qc.CloseWithError(7, "QUIC's own close")
		wantClose(l.T, s, 7, "QUIC's own close")
	})
	// A lane that is reset says the code, and its connection goes on.
	inLab(t, func(l *lab) {
		s, qc, stream := l.acceptBare(begin)
		second, err := qc.OpenStream()
		if err != nil {
			l.Fatal(err)
		}
		second.Write(hello)
		lane, err := s.(transport.LaneConn).AcceptLane(l.Context())
		if err != nil {
			l.Fatal(err)
		}
		second.CancelWrite(9)
		l.settle()
		wantClose(l.T, lane, 9, "")
		lane.CloseWithError(0, "")
		stream.Write(hello)
		if p, err := s.ReadFrame(100); err != nil || string(p) != "hello" {
			l.Errorf("%q, %v", p, err)
		}
	})
}

// TestGreetings expects a client that does not begin as W5 says to be closed, or,
// when it does nothing, to be dropped after five seconds, and Accept never to see
// it.
func TestGreetings(t *testing.T) {
	inLab(t, func(l *lab) {
		ln := listen(l.T, l.transport(serverAddr, quic.Options{TLS: l.pki.node(l.T, "server")}), "")
		accepted := make(chan transport.Conn, 3)
		go func() {
			for {
				c, err := ln.Accept(l.Context())
				if err != nil {
					return
				}
				accepted <- c
			}
		}()
		for i, first := range [][]byte{nil, hello, bye7} {
			qc, err := l.bareDial(strings.Replace(clientAddr, ".1:", "."+string(rune('5'+i))+":", 1), serverAddr, quic.Protocol)
			if err != nil {
				l.Fatal(err)
			}
			began := time.Now()
			if first != nil {
				s, err := qc.OpenStream()
				if err != nil {
					l.Fatal(err)
				}
				s.Write(first)
			}
			<-qc.Context().Done()
			if d := time.Since(began); (d > 4*time.Second) != (first == nil) || d > 6*time.Second {
				l.Errorf("% x: closed after %v: %v", first, d, context.Cause(qc.Context()))
			}
		}
		if len(accepted) != 0 {
			l.Errorf("%d were accepted", len(accepted))
		}
	})
}
