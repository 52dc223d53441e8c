package link

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	deviceName = "link0"
	tunPath    = "/dev/net/tun"

	// deviceQueue is how many packets the device holds for the process of the link. The
	// queue of the link is not here but in the model, so this one must not
	// overflow first when a sender has a large window.
	deviceQueue = 10000
)

// A namespace is the network namespace of an end. It lives as long as its
// thread, its device and its sockets.
type namespace struct {
	tun  int // the device; does not block
	v6   bool
	jobs chan func() // for the thread that is in the namespace
}

// newNamespace makes the namespace of an end, with its device of the given MTU.
func newNamespace(end, mtu int) (*namespace, error) {
	n := &namespace{jobs: make(chan func())}
	ready := make(chan error)
	go func() {
		// Never unlocked: another goroutine on this thread would be in the namespace.
		runtime.LockOSThread()
		if err := n.enter(end, mtu); err != nil {
			ready <- err
			return
		}
		close(ready)
		for job := range n.jobs {
			job()
		}
	}()
	return n, <-ready
}

// do runs f in the namespace and waits for it.
func (n *namespace) do(f func()) {
	done := make(chan struct{})
	n.jobs <- func() { f(); close(done) }
	<-done
}

func (n *namespace) socket(domain, kind, protocol int) (fd int, err error) {
	n.do(func() { fd, err = unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol) })
	return fd, err
}

// dropped returns how many packets the device had no room for, as far as the
// kernel tells.
func (n *namespace) dropped() (packets uint64) {
	n.do(func() {
		data, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return
		}
		for line := range strings.Lines(string(data)) {
			if counters, ok := strings.CutPrefix(strings.TrimSpace(line), deviceName+":"); ok {
				// Eight of what was received, then octets, packets, errors and drops.
				if fields := strings.Fields(counters); len(fields) > 11 {
					packets, _ = strconv.ParseUint(fields[11], 10, 64)
				}
			}
		}
	})
	return packets
}

// enter moves the calling thread to a new namespace and sets that up.
func (n *namespace) enter(end, mtu int) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("a new network namespace: unshare", err)
	}
	tun, err := openTun()
	if err != nil {
		return err
	}
	n.tun = tun
	if err := attachTun(tun); err != nil {
		return err
	}

	return n.configure(end, mtu)
}

// configure brings the devices up and gives the end its addresses.
func (n *namespace) configure(end, mtu int) error {
	device, err := net.InterfaceByName(deviceName)
	if err != nil {
		return err
	}
	nl, err := openNetlink(0)
	if err != nil {
		return err
	}
	defer nl.close()
	const loopback = 1 // in every namespace
	if err := nl.up(loopback, 0, 0); err != nil {
		return fmt.Errorf("the loopback device: %w", err)
	}
	if err := nl.up(device.Index, deviceQueue, mtu); err != nil {
		return fmt.Errorf("the device of an end: %w", err)
	}
	if err := nl.address(device.Index, netip.PrefixFrom(addrs4[end], prefix4)); err != nil {
		return fmt.Errorf("the address of an end: %w", err)
	}
	n.v6, err = configureIPv6(nl, device.Index, netip.PrefixFrom(addrs6[end], prefix6))
	return err
}

// configureIPv6 sets an address and reports whether the kernel has IPv6: it may be
// without, or have it switched off. It waits until the address is of use, since the
// kernel leaves some of that for later.
func configureIPv6(nl netlink, index int, prefix netip.Prefix) (bool, error) {
	events, err := openNetlink(unix.RTMGRP_IPV6_ROUTE)
	if err != nil {
		return false, err
	}
	defer events.close()
	if err := nl.address(index, prefix); err != nil {
		return false, nil
	}
	if err := events.awaitLocal(prefix.Addr()); err != nil {
		return false, fmt.Errorf("the IPv6 address of an end: %w", err)
	}
	return true, nil
}

func openTun() (int, error) {
	const flags = unix.O_RDWR | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Open(tunPath, flags, 0)
	if err == unix.ENOENT {
		// Containers have the device but not always its node.
		if fd, made := openNewTun(flags); made == nil {
			return fd, nil
		}
	}
	if err != nil {
		return -1, fmt.Errorf("the TUN device: %w", &os.PathError{Op: "open", Path: tunPath, Err: err})
	}
	return fd, nil
}

// openNewTun opens the device by a node that is gone when it returns. Few may
// make one.
func openNewTun(flags int) (int, error) {
	dir, err := os.MkdirTemp("", helperName)
	if err != nil {
		return -1, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left of it is empty
	path := filepath.Join(dir, "tun")
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200))); err != nil {
		return -1, err
	}
	return unix.Open(path, flags, 0)
}

// attachTun makes a device in the namespace of the calling thread, which lives as long
// as tun is open.
func attachTun(tun int) error {
	ifr, err := unix.NewIfreq(deviceName)
	if err != nil {
		return err
	}
	// Without IFF_VNET_HDR the kernel cuts and sums everything before it comes here.
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(tun, unix.TUNSETIFF, ifr); err != nil {
		return os.NewSyscallError("a TUN device: ioctl", err)
	}
	return nil
}
