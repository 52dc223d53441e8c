package quic_test

import (
	"context"
	"fmt"
	"log"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/quic"
)

// A node needs a certificate for its name. Here, as in other tests, they come from
// devtls. The core calls Listen with the node's address and Dial with those of its
// peers.
func ExampleNew() {
	node := func(name string) *quic.Transport {
		return quic.New(quic.Options{TLS: devtls.Config(name)})
	}
	ctx := context.Background()
	l, err := node("b").Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	near, err := node("a").Dial(ctx, transport.Peer{Name: "b", Addr: l.Addr().String()})
	if err != nil {
		log.Fatal(err)
	}
	defer near.CloseWithError(0, "")
	far, err := l.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer far.CloseWithError(0, "")

	frame := append(make([]byte, near.Info().Headroom), "hello"...)
	if err := near.WriteFrames([][]byte{frame}); err != nil {
		log.Fatal(err)
	}
	p, err := far.ReadFrame(1024)
	fmt.Printf("%s from %s, %v\n", p, far.Info().PeerName, err)
	// Output: hello from a, <nil>
}
