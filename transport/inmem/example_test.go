package inmem_test

import (
	"context"
	"fmt"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// Two nodes exchange a frame. A program hands the transports to its Managers
// instead and calls none of these methods itself.
func Example() {
	ctx := context.Background()
	network := inmem.NewNetwork()

	listener, err := network.Node("b").Listen(ctx, "b:9000")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()

	a, err := network.Node("a").Dial(ctx, transport.Peer{Name: "b", Addr: "b:9000"})
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := listener.Accept(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}

	if err := a.WriteFrames([][]byte{[]byte("hello"), []byte("world")}); err != nil {
		fmt.Println(err)
	}
	_ = a.CloseWithError(0, "done")
	for {
		frame, err := b.ReadFrame(1024)
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Printf("%s\n", frame)
	}
	_ = b.CloseWithError(0, "")
	// Output:
	// hello
	// world
	// closed by the peer with code 0: "done"
}
