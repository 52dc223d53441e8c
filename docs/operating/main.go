// Command operating is the node of docs/operating.md: what a process needs
// around a Manager to be run by Kubernetes. It reads the membership, the keys
// and the certificates from files, answers probes, shows figures, and drains
// when it is told to end. The service itself is one handler.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

const (
	dir        = "/etc/kv" // where the ConfigMap and the Secrets are mounted
	peerPort   = 7000      // between the nodes
	probePort  = 8080      // for the kubelet and for metrics
	drainLimit = 25 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	err := serve(ctx, log)
	stop()
	if err != nil {
		log.Error("the node has ended", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, log *slog.Logger) error {
	probes, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf(":%d", probePort))
	if err != nil {
		return err
	}
	ws := websocket.New(websocket.Options{
		GetTLS:   func() (*tls.Config, error) { return nodeTLS(filepath.Join(dir, "tls")) },
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	})
	return run(ctx, dir, os.Getenv("POD_NAME"), ws, probes, log)
}

// run is the life of a node: until ctx ends, and then as long as the drain takes.
func run(ctx context.Context, dir, name string, t transport.Transport, probes net.Listener, log *slog.Logger) error {
	defer probes.Close()
	peers, err := members(dir)
	if err != nil {
		return err
	}
	keys, err := sharedKeys(filepath.Join(dir, "keys"))
	if err != nil {
		return err
	}
	var lost losses
	m, err := core.NewManager(core.Config{
		Cluster:   "kv",
		Local:     core.Node{Name: name},
		Listen:    fmt.Sprintf(":%d", peerPort), // on every address: the name of a pod may not resolve yet
		Peers:     peers,
		Transport: t,
		Auth:      core.SharedKey(keys...),
		OnState:   lost.count,
		Logger:    log,
	})
	if err != nil {
		return err
	}
	defer m.Close()
	err = m.Handle("kv.hello", func(context.Context, []byte) ([]byte, error) {
		return []byte(name), nil
	})
	if err != nil {
		return err
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	go follow(ctx, m, dir, log)

	// From here on the node is ready, whether or not it has found its peers.
	server := http.Server{Handler: probeHandler(m, &lost), ReadHeaderTimeout: 5 * time.Second}
	defer server.Close()
	go func() {
		if err := server.Serve(probes); !errors.Is(err, http.ErrServerClosed) {
			log.Error("probes are not answered any more", "error", err)
		}
	}()

	<-ctx.Done() // SIGTERM
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainLimit)
	defer cancel()
	return m.Shutdown(draining)
}

// probeHandler answers the kubelet, without a look at the peers, Prometheus, and
// whoever wants to know why a peer is not connected.
func probeHandler(m *core.Manager, lost *losses) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		writeMetrics(w, m.Stats(), lost.n.Load(), time.Now())
	})
	mux.HandleFunc("GET /peers", func(w http.ResponseWriter, _ *http.Request) {
		over, cancel := context.WithCancel(context.Background())
		cancel() // to be told at once
		if err := m.WaitConnected(over); err != nil {
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "all peers are connected")
	})
	return mux
}
