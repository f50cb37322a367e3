PRAGMA user_version = 2;
PRAGMA application_id = 1229804359;
BEGIN TRANSACTION;
CREATE TABLE change (id TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "counter" VALUES('next_row',24);
INSERT INTO "counter" VALUES('revision',24);
CREATE TABLE image (
    pk INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    row INTEGER NOT NULL UNIQUE,
    path TEXT,
    split TEXT NOT NULL CHECK (split IN ('train', 'test')),
    caption TEXT,
    attributes TEXT NOT NULL,
    sha256 TEXT,
    width INTEGER,
    height INTEGER,
    fingerprint TEXT
);
INSERT INTO "image" VALUES(1,'image-0',0,NULL,'train','a caption','{}',NULL,640,480,'0:1:x');
INSERT INTO "image" VALUES(2,'image-1',1,'pictures/1.jpg','train',NULL,'{"year":2001,"place":{"city":"Oslo"}}',NULL,640,480,'1:1:x');
INSERT INTO "image" VALUES(3,'image-2',2,NULL,'train',NULL,'{"year":2002,"place":{"city":"Oslo"}}',NULL,640,480,'2:1:x');
INSERT INTO "image" VALUES(4,'image-3',3,'pictures/3.jpg','train',NULL,'{"year":2003,"place":{"city":"Oslo"}}',NULL,640,480,'3:1:x');
INSERT INTO "image" VALUES(5,'image-4',4,NULL,'train',NULL,'{}',NULL,640,480,'4:1:x');
INSERT INTO "image" VALUES(6,'image-5',5,'pictures/5.jpg','train','a caption','{"year":2005,"place":{"city":"Oslo"}}',NULL,640,480,'5:1:x');
INSERT INTO "image" VALUES(7,'image-6',6,NULL,'test',NULL,'{"year":2006,"place":{"city":"Oslo"}}',NULL,640,480,'6:1:x');
INSERT INTO "image" VALUES(8,'image-7',7,'pictures/7.jpg','train',NULL,'{"year":2007,"place":{"city":"Oslo"}}',NULL,640,480,'7:1:x');
INSERT INTO "image" VALUES(9,'image-8',8,NULL,'train',NULL,'{}',NULL,640,480,'8:1:x');
INSERT INTO "image" VALUES(10,'image-9',9,'pictures/9.jpg','train',NULL,'{"year":2009,"place":{"city":"Oslo"}}',NULL,640,480,'9:1:x');
INSERT INTO "image" VALUES(11,'image-10',10,NULL,'train','a caption','{"year":2010,"place":{"city":"Oslo"}}',NULL,640,480,'10:1:x');
INSERT INTO "image" VALUES(12,'image-11',11,'pictures/11.jpg','train',NULL,'{"year":2011,"place":{"city":"Oslo"}}',NULL,640,480,'11:1:x');
INSERT INTO "image" VALUES(13,'image-12',12,NULL,'train',NULL,'{}',NULL,640,480,'12:1:x');
INSERT INTO "image" VALUES(14,'image-13',13,'pictures/13.jpg','test',NULL,'{"year":2013,"place":{"city":"Oslo"}}',NULL,640,480,'13:1:x');
INSERT INTO "image" VALUES(15,'image-14',14,NULL,'train',NULL,'{"year":2014,"place":{"city":"Oslo"}}',NULL,640,480,'14:1:x');
INSERT INTO "image" VALUES(16,'image-15',15,'pictures/15.jpg','train','a caption','{"year":2015,"place":{"city":"Oslo"}}',NULL,640,480,'15:1:x');
INSERT INTO "image" VALUES(17,'image-16',16,NULL,'train',NULL,'{}',NULL,640,480,'16:1:x');
INSERT INTO "image" VALUES(18,'image-17',17,'pictures/17.jpg','train',NULL,'{"year":2017,"place":{"city":"Oslo"}}',NULL,640,480,'17:1:x');
INSERT INTO "image" VALUES(19,'image-18',18,NULL,'train',NULL,'{"year":2018,"place":{"city":"Oslo"}}',NULL,640,480,'18:1:x');
INSERT INTO "image" VALUES(20,'image-19',19,'pictures/19.jpg','train',NULL,'{"year":2019,"place":{"city":"Oslo"}}',NULL,640,480,'19:1:x');
INSERT INTO "image" VALUES(21,'image-20',20,NULL,'test','a caption','{}',NULL,640,480,'20:1:x');
INSERT INTO "image" VALUES(22,'image-21',21,'pictures/21.jpg','train',NULL,'{"year":2021,"place":{"city":"Oslo"}}',NULL,640,480,'21:1:x');
INSERT INTO "image" VALUES(23,'image-22',22,NULL,'train',NULL,'{"year":2022,"place":{"city":"Oslo"}}',NULL,640,480,'22:1:x');
INSERT INTO "image" VALUES(24,'image-23',23,'pictures/23.jpg','train',NULL,'{"year":2023,"place":{"city":"Oslo"}}',NULL,640,480,'23:1:x');
CREATE TABLE image_tag (
    image INTEGER NOT NULL REFERENCES image (pk) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    tag INTEGER NOT NULL REFERENCES tag (pk),
    weight REAL NOT NULL,
    PRIMARY KEY (image, position)
) WITHOUT ROWID;
INSERT INTO "image_tag" VALUES(3,0,1,1.0);
INSERT INTO "image_tag" VALUES(4,0,2,0.5);
INSERT INTO "image_tag" VALUES(4,1,1,0.5);
INSERT INTO "image_tag" VALUES(5,0,3,1.0);
INSERT INTO "image_tag" VALUES(6,0,4,1.0);
INSERT INTO "image_tag" VALUES(6,1,2,1.0);
INSERT INTO "image_tag" VALUES(7,0,2,0.5);
INSERT INTO "image_tag" VALUES(8,0,1,1.0);
INSERT INTO "image_tag" VALUES(9,0,4,1.0);
INSERT INTO "image_tag" VALUES(9,1,1,1.0);
INSERT INTO "image_tag" VALUES(11,0,2,1.0);
INSERT INTO "image_tag" VALUES(11,1,1,1.0);
INSERT INTO "image_tag" VALUES(12,0,4,1.0);
INSERT INTO "image_tag" VALUES(12,1,3,1.0);
INSERT INTO "image_tag" VALUES(13,0,4,0.5);
INSERT INTO "image_tag" VALUES(13,1,1,0.5);
INSERT INTO "image_tag" VALUES(14,0,2,1.0);
INSERT INTO "image_tag" VALUES(14,1,3,1.0);
INSERT INTO "image_tag" VALUES(14,2,1,1.0);
INSERT INTO "image_tag" VALUES(15,0,3,1.0);
INSERT INTO "image_tag" VALUES(15,1,1,1.0);
INSERT INTO "image_tag" VALUES(16,0,2,0.5);
INSERT INTO "image_tag" VALUES(16,1,3,0.5);
INSERT INTO "image_tag" VALUES(17,0,4,1.0);
INSERT INTO "image_tag" VALUES(17,1,3,1.0);
INSERT INTO "image_tag" VALUES(18,0,4,1.0);
INSERT INTO "image_tag" VALUES(18,1,2,1.0);
INSERT INTO "image_tag" VALUES(23,0,4,1.0);
INSERT INTO "image_tag" VALUES(24,0,4,1.0);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('image_encoder','{"name": "precomputed", "weights_sha256": "", "dim": 8, "preprocessing": "none"}');
CREATE TABLE skip (
    pk INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    source TEXT NOT NULL,
    line INTEGER,
    reason TEXT NOT NULL,
    item TEXT NOT NULL
);
INSERT INTO "skip" VALUES(1,'ingest-000001','tags.jsonl',25,'the file is empty','image-24');
CREATE TABLE tag (
    pk INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE
);
INSERT INTO "tag" VALUES(1,'red sofa','red sofa');
INSERT INTO "tag" VALUES(2,'cat','cat');
INSERT INTO "tag" VALUES(3,'Straße','strasse');
INSERT INTO "tag" VALUES(4,'dog','dog');
CREATE UNIQUE INDEX image_tag_by_tag ON image_tag (tag, image);
CREATE INDEX skip_by_run ON skip (run);
CREATE UNIQUE INDEX change_by_revision ON change (revision);
CREATE INDEX image_by_sha256 ON image (sha256);
COMMIT;
