package peers

import (
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/gridmux/gridmux/bench/peers/h"
)

// openNATS joins a client that asks and one that answers by a server, all three in this process
// with TCP between them: every message crosses two connections, since nobody talks to
// anybody but the server. It carries up to 8 MiB here and 1 MiB by default.
func openNATS() (*h.Peer, error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, MaxPayload: 8 << 20, MaxPending: 256 << 20})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(5 * time.Second) {
		s.Shutdown()
		return nil, fmt.Errorf("the server is not ready")
	}
	answers, err := nats.Connect(s.ClientURL())
	if err != nil {
		s.Shutdown()
		return nil, err
	}
	asks, err := nats.Connect(s.ClientURL())
	closeAll := func() {
		answers.Close()
		if asks != nil {
			asks.Close()
		}
		s.Shutdown()
		s.WaitForShutdown()
	}
	if err == nil {
		_, err = answers.Subscribe("echo", func(m *nats.Msg) { m.Respond(m.Data) })
	}
	if err == nil {
		_, err = answers.Subscribe("stream", func(m *nats.Msg) {
			count, size := getReq(m.Data)
			p := make([]byte, size)
			for range count {
				m.Respond(p)
			}
		})
	}
	if err == nil {
		err = answers.Flush()
	}
	if err != nil {
		closeAll()
		return nil, err
	}
	return &h.Peer{
		NewWorker: func() (h.EchoFn, error) {
			return func(req []byte) (int, error) {
				m, err := asks.Request("echo", req, time.Minute)
				if err != nil {
					return 0, err
				}
				return len(m.Data), nil
			}, nil
		},
		Stream: func(count, size int) (int, error) { return natsStream(asks, count, size) },
		Close:  closeAll,
	}, nil
}

// natsStream receives what was asked for. Limits on what waits are off, since NATS would drop
// what is over them: it knows no flow control between clients.
func natsStream(nc *nats.Conn, count, size int) (int, error) {
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return 0, err
	}
	defer sub.Unsubscribe()
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return 0, err
	}
	if err := nc.PublishRequest("stream", inbox, putReq(count, size)); err != nil {
		return 0, err
	}
	for i := range count {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			return i, err
		}
		if len(m.Data) != size {
			return i, fmt.Errorf("size %d", len(m.Data))
		}
	}
	return count, nil
}

func init() {
	h.Register(&h.Factory{Name: "nats", Note: "NATS, both clients and the server in this process", Open: func(int) (*h.Peer, error) { return openNATS() }})
}
