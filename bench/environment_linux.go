package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gridmux/gridmux/bench/internal/kernel"
)

// bufferNames are the limits of the kernel on the buffers of sockets.
func bufferNames() []string {
	return []string{
		"net.core.rmem_default", "net.core.rmem_max", "net.core.wmem_default", "net.core.wmem_max",
		"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
	}
}

// fill adds what the kernel tells.
func (e *environment) fill() {
	e.Kernel = kernel.Version()
	e.Buffers = map[string]string{}
	for _, name := range bufferNames() {
		if value, ok := readSetting("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); ok {
			e.Buffers[name] = value
		}
	}
	if load, ok := readSetting("/proc/loadavg"); ok {
		e.Load, _, _ = strings.Cut(load, " ")
	}
	e.Offloads = offloads()
}

func readSetting(file string) (string, bool) {
	text, err := os.ReadFile(filepath.Clean(file))
	return strings.Join(strings.Fields(string(text)), " "), err == nil
}

// ethtoolValue is struct ethtool_value of the kernel.
type ethtoolValue struct{ command, data uint32 }

// offloads asks the loopback device and a UDP socket.
func offloads() map[string]bool {
	found := map[string]bool{}
	for name, command := range map[string]uint32{"tso": unix.ETHTOOL_GTSO, "gso": unix.ETHTOOL_GGSO, "gro": unix.ETHTOOL_GGRO} {
		if on, err := ethtool("lo", command); err == nil {
			found[name] = on
		}
	}
	pc, err := thisHost{}.ListenPacket(context.Background(), "udp", anyPort(thisHost{}))
	if err != nil {
		return found
	}
	defer pc.Close()
	for name, option := range map[string]int{"udp_segment": unix.UDP_SEGMENT, "udp_gro": unix.UDP_GRO} {
		found[name] = onSocket(pc, func(fd int) error {
			_, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, option)
			return err
		}) == nil
	}
	return found
}

// ethtool asks a device whether a feature is on.
func ethtool(device string, command uint32) (bool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	value := ethtoolValue{command: command}
	// struct ifreq: the name of the device, and a pointer.
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // it is larger where pointers are smaller
	}
	copy(request.name[:unix.IFNAMSIZ-1], device)
	request.data = unsafe.Pointer(&value)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return false, errno
	}
	return value.data != 0, nil
}
