"""Turns what gsmtp published back into messages: consumer.py FOLDER URL..."""

import hashlib
import json
import os
import sqlite3
import sys
import time

import pika
import pika.exceptions

FOLDER, URLS = sys.argv[1], sys.argv[2:]
seen = sqlite3.connect(os.path.join(FOLDER, "seen.db"), isolation_level=None)
seen.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY)")


def handle(sender, recipients, message):
    print(f"{len(message)} bytes from <{sender}> for {' '.join(recipients)}")


def consume(channel, method, properties, body):
    claim, unique = None, properties.message_id
    is_new = not seen.execute("SELECT 1 FROM seen WHERE id = ?", (unique,)).fetchone()
    if properties.content_type == "application/vnd.gsmtp.claim+json":
        claim = json.loads(body)
        claim["path"] = os.path.join(FOLDER, "claims", claim["path"])
        if is_new:
            with open(claim["path"], "rb") as file:
                body = file.read()
            if hashlib.sha256(body).hexdigest() != claim["sha256"]:
                channel.basic_reject(method.delivery_tag, requeue=False)  # to the queue's dead letters
                return
    if is_new:  # a crash between these two lines is a second handle(): best is one transaction for both
        handle(properties.headers["sender"], properties.headers["recipients"], body)
        seen.execute("INSERT INTO seen VALUES (?)", (unique,))
    channel.basic_ack(method.delivery_tag)
    if claim and os.path.exists(claim["path"]):
        os.unlink(claim["path"])


while True:
    try:
        channel = pika.BlockingConnection([pika.URLParameters(url) for url in URLS]).channel()
        channel.exchange_declare("mail", "fanout", durable=True)
        channel.queue_declare("mail", durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind("mail", "mail")
        channel.basic_qos(prefetch_count=100)
        channel.basic_consume("mail", consume)
        channel.start_consuming()
    except pika.exceptions.AMQPError as error:
        print(f"connecting anew: {error!r}")
        time.sleep(1)
