"""An inbox to look into while one writes a program that sends mail: SMTP on one port, a page and JSON on another."""
