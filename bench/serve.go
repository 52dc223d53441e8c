package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gridmux/gridmux/core"
)

const (
	serveName = "serve"
	servePort = 7600
	// drainTimeout bounds how long calls under way may take when it ends.
	drainTimeout = time.Second
	// portAttempts is how often ports are looked for that are free side by side.
	portAttempts = 20
)

// serveOptions is what the flags of bench serve say.
type serveOptions struct {
	host   string
	port   int // 0: any
	kinds  []kind
	secret secret
	// made: nobody named the secret, so that it has to be told.
	made bool
	// chosen: the other end has to be told which transports.
	chosen bool
	// log has why a node was refused, which it is not told itself.
	log *slog.Logger
}

// serve is the command that answers those that measure the path to this host, until it is
// interrupted.
func (p program) serve(ctx context.Context, args []string) int {
	opts, err := parseServeFlags(p.known, args, p.stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(p.stderr, "bench serve: %v\n", err)
		return exitUsage
	}
	opts.log = slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := openServer(ctx, thisHost{}, opts)
	if err != nil {
		fmt.Fprintf(p.stderr, "bench serve: %v\n", err)
		return exitUsage
	}
	defer s.close()
	// Without it nobody knows the key.
	if _, err := fmt.Fprintf(p.stdout, "%s\n", s.announcement(opts)); err != nil {
		fmt.Fprintf(p.stderr, "bench serve: standard output: %v\n", err)
		return exitUsage
	}
	<-ctx.Done()
	fmt.Fprintln(p.stdout, "bench serve: ended")
	return exitOK
}

func parseServeFlags(known []kind, args []string, help io.Writer) (serveOptions, error) {
	opts := serveOptions{port: servePort, secret: newSecret(), made: true}
	for _, k := range known {
		if k.carrier != overMemory {
			opts.kinds = append(opts.kinds, k)
		}
	}
	reachable := opts.kinds
	fs := flag.NewFlagSet("bench serve", flag.ContinueOnError)
	fs.Func("listen", "the `address` to serve on, of which the next TCP port is used too (default :"+strconv.Itoa(servePort)+")",
		func(s string) error {
			host, port, err := net.SplitHostPort(s)
			if err == nil {
				opts.port, err = strconv.Atoi(port)
			}
			if err != nil || opts.port < 0 || opts.port >= 1<<16-1 {
				return fmt.Errorf("use an address and port such as 192.0.2.7:%d or :%d", servePort, servePort)
			}
			opts.host = host
			return nil
		})
	key := fs.String("key", "", "the `secret` that both ends prove to each other that they have, or @ and a file that has it "+
		"(default a new one, which is printed)")
	fs.Func("transports", "which transports, in a `list` (default "+kindNames(reachable)+")",
		func(s string) (err error) {
			opts.kinds, err = parseKinds(reachable, s)
			opts.chosen = len(opts.kinds) < len(reachable)
			return err
		})
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(help, "Usage: go run ./bench serve [flags]\n\n"+
			"Answers bench -connect on another host, which measures the path between the two.\n\n")
		fs.SetOutput(help)
		fs.PrintDefaults()
		return opts, err
	}
	if err != nil {
		return opts, unknownFlag(err)
	}
	if fs.NArg() > 0 {
		return opts, fmt.Errorf("unexpected argument %q: it takes flags only, -help lists them", fs.Arg(0))
	}
	fs.Visit(func(f *flag.Flag) {
		if f.Name == "key" {
			opts.made = false
			opts.secret, err = parseSecret(*key)
		}
	})
	return opts, err
}

// unknownFlag says of a flag that does not exist what to do about it.
func unknownFlag(err error) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: "); ok {
		return fmt.Errorf("there is no flag %s: -help lists those there are", name)
	}
	return err
}

// server is the end that answers: a node for each transport.
type server struct {
	kinds []kind
	log   *slog.Logger
	sites []*endSite
	nodes []*core.Manager
	host  string
	port  int
}

// openServer opens the sockets and starts the nodes.
func openServer(ctx context.Context, at host, opts serveOptions) (*server, error) {
	attempts := 1
	if opts.port == 0 {
		attempts = portAttempts
	}
	var s *server
	var err error
	for range attempts {
		s = &server{kinds: opts.kinds, log: opts.log, host: opts.host, port: opts.port}
		if err = s.listen(ctx, at, opts.secret); err == nil {
			break
		}
		s.close()
	}
	if err != nil {
		return nil, err
	}
	for i := range s.sites {
		if err := s.start(ctx, s.sites[i]); err != nil {
			s.close()
			return nil, fmt.Errorf("%s: %w", s.kinds[i].name, err)
		}
	}
	return s, nil
}

// listen opens all sockets, at ports side by side.
func (s *server) listen(ctx context.Context, at host, key secret) error {
	if s.port == 0 {
		free, err := at.Listen(ctx, "tcp", net.JoinHostPort(s.host, "0"))
		if err != nil {
			return err
		}
		_, port, _ := net.SplitHostPort(free.Addr().String())
		s.port, _ = strconv.Atoi(port)
		free.Close()
	}
	for _, k := range s.kinds {
		e := &endSite{node: there, tls: k.tls, secret: key, host: at}
		address := net.JoinHostPort(s.host, strconv.Itoa(portOf(k, s.port)))
		if err := e.listen(ctx, k, address); err != nil {
			return fmt.Errorf("%s: %w: use -listen with a port that is free, and the one behind it too", k.name, err)
		}
		s.sites = append(s.sites, e)
	}
	return nil
}

// start starts a node. What the flags of the other end may ask for it has to allow.
func (s *server) start(ctx context.Context, e *endSite) error {
	t, err := e.boot()
	if err != nil {
		return err
	}
	local := core.Node{Name: there, Addr: e.addr()}
	cfg := core.Config{
		Cluster: clusterName, Local: local, Transport: t, Auth: e.auth, Logger: s.log,
		Peers: []core.Node{local, {Name: here, Addr: "192.0.2.1:1"}}, // which is nobody's
	}
	anyDemand().allow(&cfg)
	m, err := core.NewManager(cfg)
	if err != nil {
		return err
	}
	if err := serveLoads(m); err != nil {
		return err
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	s.nodes = append(s.nodes, m)
	return nil
}

// announcement says where it serves and what to do on the other host.
func (s *server) announcement(opts serveOptions) string {
	var parts []string
	for i, k := range s.kinds {
		protocol := "TCP"
		if k.carrier == overUDP {
			protocol = "UDP"
		}
		parts = append(parts, fmt.Sprintf("%s on %s %s", k.name, protocol, s.sites[i].addr()))
	}
	host, key := s.host, "the key that you gave it"
	if slices.Contains([]string{"", "0.0.0.0", "::"}, host) {
		host = "this-host"
	}
	if opts.made {
		key = opts.secret.key
	}
	if opts.chosen {
		key += " -transports " + kindNames(s.kinds)
	}
	return wrap("gridmux bench serves "+strings.Join(parts, ", ")+". Ctrl-C ends it. On the other host, where -key @file "+
		"takes the key from a file, which other users of it do not see:", lineWidth) +
		fmt.Sprintf("\n\n    go run ./bench -connect %s -key %s\n", net.JoinHostPort(host, strconv.Itoa(s.port)), key)
}

// close ends the nodes in order, so that whoever is connected learns of it at once.
func (s *server) close() {
	for _, m := range s.nodes {
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		_ = m.Shutdown(ctx)
		cancel()
	}
	for _, e := range s.sites {
		e.kill()
	}
}
