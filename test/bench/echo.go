package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"time"
)

// echoCommand is the argument by which this program becomes the bare server.
const echoCommand = "echo-server"

// echoAddr tells the bare server where to listen.
const echoAddr = "BARID_BENCH_ECHO"

type hello func() *tls.Config

// serveEcho is the least a TLS server can be in Go: a goroutine per
// connection that reads and writes back. It is the yardstick for memory.
func serveEcho() error {
	cfg, err := echoTLS()
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", os.Getenv(echoAddr), cfg)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go echo(c)
	}
}

// echoTLS makes a certificate like that of a relay.
func echoTLS() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{domain},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}

func echo(c net.Conn) {
	defer c.Close()
	var b [16]byte
	for {
		n, err := c.Read(b[:])
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

// startBare runs this program as the bare server of a command, where the relay
// would run, and gives its address.
func startBare(ctx context.Context, o options, command string) (s *server, addr string, err error) {
	if addr, err = freeAddr(); err != nil {
		return nil, "", err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, "", fmt.Errorf("find this program: %w", err)
	}
	s, err = startProcess(ctx, []string{"env", echoAddr + "=" + addr, self, command}, o.serverCPU, addr)
	return s, addr, err
}

// echoGrowth is growth of the bare server.
func echoGrowth(ctx context.Context, o options, h hello) (float64, error) {
	s, addr, err := startBare(ctx, o, echoCommand)
	if err != nil {
		return 0, err
	}
	defer s.kill()
	g, err := growth(ctx, o, s, func(ctx context.Context, _ int) (closer, error) {
		c, err := dial(ctx, addr, h())
		if err != nil {
			return nil, err
		}
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			c.Close()
			return nil, err
		}
		if _, err := bufio.NewReaderSize(c, 16).ReadString('\n'); err != nil {
			c.Close()
			return nil, err
		}
		return hangUp{c}, nil
	})
	return g.settled, err
}

// hangUp is a closer of a net.Conn.
type hangUp struct{ net.Conn }

func (h hangUp) Close() { h.Conn.Close() }
