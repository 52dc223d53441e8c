package ours

import (
	"context"

	"github.com/gridmux/gridmux/bench/peers/h"
	"github.com/gridmux/gridmux/core"
)

// openRequests is what openPair makes, with workers that call Request, which returns a slice
// of its own with every answer.
func openRequests(on network) (*h.Peer, error) {
	c, err := open(2, on)
	if err != nil {
		return nil, err
	}
	to := c[0].Connection("n1")
	closing, cancel := context.WithCancel(context.Background())
	return &h.Peer{
		NewWorker: func() (h.EchoFn, error) { return request(closing, to), nil },
		Close: func() {
			cancel()
			c.close()
		},
	}, nil
}

// request is echo with Request.
func request(closing context.Context, to *core.Connection) h.EchoFn {
	ctx, cancel := context.WithCancel(context.Background())
	context.AfterFunc(closing, cancel)
	timeout := core.WithTimeout(callTimeout)
	return func(req []byte) (int, error) {
		answer, err := to.Request(ctx, echoID, req, timeout)
		return len(answer), err
	}
}

func init() { //nolint:gochecknoinits // how the harness learns of its contenders
	h.Register(&h.Factory{
		Name: "ours-request",
		Note: "gridmux over websocket, with Request, which returns a slice of its own",
		Open: func(int) (*h.Peer, error) { return openRequests(overWebsocket()) },
	})
}
