package link_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// A connection over 20 ms, whose setup and first answer take two round trips.
func Example() {
	ctx := context.Background()
	l, err := link.New(1, link.Conditions{RTT: 20 * time.Millisecond, Rate: 100e6, Loss: 0.005})
	if errors.Is(err, link.ErrUnavailable) {
		fmt.Println(err) // says what is missing
		return
	} else if err != nil {
		log.Fatal(err)
	}
	defer l.Close()

	ln, err := l.A().Listen(ctx, "tcp", ":7000")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if c, err := ln.Accept(); err == nil {
			defer c.Close()
			_, _ = io.WriteString(c, "hello") // the other end sees it, or not
		}
	}()
	c, err := l.B().Dial(ctx, "tcp", l.A().Addr().String()+":7000")
	if err != nil {
		log.Fatal(err)
	}
	greeting, err := io.ReadAll(c)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s over %s", greeting, link.Conditions{RTT: 20 * time.Millisecond})
}

// The form of a command-line flag, where settings follow the name of a preset.
func ExampleParse() {
	c, err := link.Parse("wan,loss=1%,mtu=1400")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c)

	_, err = link.Parse("wan,loss=2")
	fmt.Println(err)
	// Output:
	// rtt=100ms,jitter=5ms,rate=100mbit,loss=1%,mtu=1400
	// link: loss: "2" is more than 1; should it be 2%?
}
