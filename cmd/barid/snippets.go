package main

import (
	"embed"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"barid/internal/config"
)

//go:embed snippets
var snippetFiles embed.FS

// snippets are the files by the name of the server they are for.
var snippets = map[string]string{"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile"}

func snippetsCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "snippets nginx|haproxy|caddy",
		Short:     "Print what a web server that has ports 80 and 443 needs to stand in front",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"nginx", "haproxy", "caddy"},
		RunE: func(cmd *cobra.Command, args []string) error {
			_, cfg, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			return failed(writeSnippet(cmd.OutOrStdout(), args[0], cfg))
		},
	}
}

// snippet is what the templates know.
type snippet struct {
	Domain string
	Names  []string
	HTTPS  string // path of a Unix socket
	Web    string // likewise, of the pages without TLS
	HTTP   string // address and port
}

// writeSnippet writes the snippet for a server, with the sockets that the
// configuration has, or else some that it could have.
func writeSnippet(w io.Writer, server string, cfg *config.Config) error {
	s := snippet{Domain: cfg.Domain, Names: []string{cfg.Domain}, HTTPS: "/run/barid/https", Web: "/run/barid/web", HTTP: "127.0.0.1:8080"}
	if _, err := netip.ParseAddr(cfg.Domain); err == nil {
		return fmt.Errorf("clients send no server name for the address %s, so nothing can stand in front of it", cfg.Domain)
	}
	s.Names = append(s.Names, "www."+cfg.Domain, "mta-sts."+cfg.Domain)
	s.HTTPS = firstSocket(cfg.Listen.HTTPS, s.HTTPS)
	s.Web = firstSocket(cfg.Listen.HTTPClear, s.Web)
	if i := slices.IndexFunc(cfg.Listen.HTTP, func(a string) bool { return strings.HasPrefix(a, "127.0.0.1:") }); i >= 0 {
		s.HTTP = cfg.Listen.HTTP[i]
	}
	t, err := template.ParseFS(snippetFiles, "snippets/"+snippets[server])
	if err != nil {
		return err
	}
	return t.Execute(w, s)
}

func firstSocket(addrs []string, otherwise string) string {
	for _, a := range addrs {
		if path, ok := strings.CutPrefix(a, "unix:"); ok {
			return path
		}
	}
	return otherwise
}
